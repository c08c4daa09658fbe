"""Crate counts and the single crypto stack, from `cargo tree`. Fails on growth."""

import subprocess
import sys

# (package, cargo flags, most crates allowed with the package itself, crates that must not appear)
CRYPTO = {"ring", "openssl", "openssl-sys", "native-tls", "rsa", "sha2", "aes-gcm", "rustls-openssl"}
LIMITS = [
    ("entra-auth", ["--no-default-features"], 66, CRYPTO | {"aws-lc-rs", "jsonwebtoken", "reqwest"}),
    ("entra-auth", [], 110, CRYPTO),
    ("botframework-activity", ["--no-default-features"], 6, CRYPTO | {"entra-auth", "url", "tokio", "http"}),
    ("foundry-client", ["--no-default-features"], 20, CRYPTO | {"entra-auth", "url", "tokio", "http"}),
    ("botframework-activity", [], 90, CRYPTO | {"reqwest"}),
    ("foundry-client", [], 75, CRYPTO | {"aws-lc-rs", "jsonwebtoken", "reqwest"}),
    ("teams-sso", [], 95, CRYPTO | {"reqwest"}),
]


def crates(package, flags):
    command = ["cargo", "tree", "-p", package, *flags, "-e", "normal", "--prefix", "none", "--locked"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {line.replace(" (*)", "").replace(" (proc-macro)", "") for line in lines if line}


def main():
    failed = False
    for package, flags, limit, banned in LIMITS:
        found = crates(package, flags)
        bad = sorted(name for name in (crate.split()[0] for crate in found) if name in banned)
        failed |= len(found) > limit or bool(bad)
        verdict = "too many" if len(found) > limit else "ok"
        print(f"{package} {' '.join(flags) or '(default)'}: {len(found)} crates, at most {limit}: {verdict}")
        if bad:
            print(f"  must not be there: {', '.join(bad)}")
    deployed = {crate.split()[0] for crate in crates("broker", ["--no-default-features"])}
    if "m365-sandbox" in deployed:
        failed = True
        print("the broker without default features contains the sandbox")
    # No crate twice in what a user of a crate builds: neither ours nor, for a version that we chose, another's.
    for package in dict.fromkeys(package for package, *_ in LIMITS):
        command = ["cargo", "tree", "-p", package, "-d", "-e", "normal", "--prefix", "none", "--depth", "0", "--locked"]
        twice = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
        twice = [line for line in twice if line]
        if twice:
            failed = True
            print(f"{package} is built with two versions: {', '.join(twice)}")
    tree = subprocess.run(
        ["cargo", "tree", "--workspace", "-d", "-e", "normal", "--prefix", "none", "--depth", "0", "--locked"],
        check=True, capture_output=True, text=True,
    ).stdout
    twice = sorted({package for package, *_ in LIMITS} & {line.split()[0] for line in tree.splitlines() if line})
    if twice:
        failed = True
        print(f"built in two versions: {', '.join(twice)}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
