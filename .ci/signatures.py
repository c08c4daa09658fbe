"""No foreign type in a public signature but those on the list of design decisions. Reads rustdoc's JSON."""

import json
import sys
from pathlib import Path

OURS = {"entra_auth", "botframework_activity", "foundry_client", "teams_sso"}
# Whole crates that may appear.
CRATES = OURS | {"std", "core", "alloc", "http", "bytes", "url", "time", "serde", "serde_core", "futures_core"}
# Single types of other crates.
TYPES = {
    "serde_json::value::Value",
    "serde_json::raw::RawValue",
    "serde_json::map::Map",
    "tokio::time::instant::Instant",
}
# Inside the feature of that name.
CRATES |= {"tower_layer", "tower_service", "axum_core", "azure_core", "typespec", "schemars"}
# Types that one item alone may name.
EXCEPTIONS = {("ReqwestTransport", "reqwest")}


def references(node):
    """Every path to an item inside a piece of a signature."""
    if isinstance(node, dict):
        if "resolved_path" in node:
            yield node["resolved_path"]
        for key, value in node.items():
            if key == "trait" and isinstance(value, dict) and "id" in value:
                yield value
            if key == "trait_" and isinstance(value, dict):
                yield value
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def signature(item):
    """The parts of an item that its users see."""
    kind, inner = next(iter(item["inner"].items()))
    if kind == "function":
        return [inner["sig"], inner["generics"]]
    if kind == "impl":
        # What a derive or a blanket implementation brings is not our signature; whom we implement for and what is.
        return [] if inner.get("blanket_impl") or inner.get("is_synthetic") else [inner["trait"], inner["for"], inner["generics"]]
    if kind in ("struct", "enum", "union"):
        return [inner["generics"]]
    if kind in ("struct_field", "constant", "static", "type_alias", "assoc_type", "assoc_const", "trait", "variant"):
        return [inner]
    return []


def check(path):
    document = json.loads(path.read_text())
    index, paths, crates = document["index"], document["paths"], document["external_crates"]
    found = set()

    def look(item, owner):
        for part in signature(item):
            for reference in references(part):
                summary = paths.get(str(reference["id"])) or paths.get(reference["id"])
                if summary is None or summary["crate_id"] == 0:
                    continue
                crate = crates[str(summary["crate_id"])]["name"]
                full = "::".join(summary["path"])
                if crate in CRATES or full in TYPES or (owner, crate) in EXCEPTIONS:
                    continue
                found.add((f"{owner}::{item['name']}" if item["name"] else owner, full))

    def walk(identifier, owner, seen):
        item = index.get(str(identifier)) or index.get(identifier)
        if item is None or identifier in seen or item["crate_id"] != 0:
            return
        seen.add(identifier)
        if item["visibility"] not in ("public", "default"):
            return
        kind, inner = next(iter(item["inner"].items()))
        top = item["name"] if kind in ("struct", "enum", "trait", "type_alias") else owner
        if kind == "impl":
            if inner.get("blanket_impl") or inner.get("is_synthetic") or "automatically_derived" in str(item["attrs"]):
                return
        look(item, top)
        children = []
        if kind == "module":
            children = inner["items"]
        elif kind == "use":
            children = [inner["id"]] if inner["id"] is not None else []
        elif kind == "struct":
            shape = inner["kind"]
            if isinstance(shape, dict):
                children = shape.get("plain", {}).get("fields", []) or [i for i in shape.get("tuple", []) if i is not None]
            children = children + inner["impls"]
        elif kind == "enum":
            children = inner["variants"] + inner["impls"]
        elif kind == "variant":
            shape = inner["kind"]
            if isinstance(shape, dict):
                children = shape.get("struct", {}).get("fields", []) or [i for i in shape.get("tuple", []) if i is not None]
        elif kind in ("trait", "impl"):
            children = inner["items"]
        for child in children:
            walk(child, top, seen)

    walk(document["root"], path.stem, set())
    return sorted(found)


def main():
    folder, crates = Path(sys.argv[1]), sys.argv[2:]
    failed = False
    for crate in crates:
        bad = check(folder / f"{crate.replace('-', '_')}.json")
        print(f"{crate}: {'ok' if not bad else 'foreign types in public signatures'}")
        for owner, full in bad:
            failed = True
            print(f"  {owner}: {full}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
