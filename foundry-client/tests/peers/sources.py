"""azure-ai-projects against the sandbox: manifests, code, sessions, memory. Prints what it has gone through.

Usage: REQUESTS_CA_BUNDLE=FILE sources.py BASE PROJECT TENANT APP SECRET
"""

import io
import sys

from azure.ai.projects import AIProjectClient
from azure.ai.projects import models as m
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import ClientSecretCredential

BASE, PROJECT, TENANT, APP, SECRET = sys.argv[1:]


def refused(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} expected")


credential = ClientSecretCredential(TENANT, APP, SECRET, authority=BASE, disable_instance_discovery=True)
project = AIProjectClient(endpoint=f"{BASE}/foundry/api/projects/{PROJECT}", credential=credential, allow_preview=True)
agents = project.agents

made = agents.create_version_from_manifest("desk", manifest_id="helpdesk-template", parameter_values={"tone": "brisk"})
assert (made.version, made.definition.instructions) == ("1", "You are the help desk of Contoso. Be brisk."), made
refused(ResourceNotFoundError, lambda: agents.create_version_from_manifest("desk", manifest_id="x", parameter_values={}))
refused(HttpResponseError, lambda: agents.create_version_from_manifest(
    "desk", manifest_id="helpdesk-template", parameter_values={}))
print("manifests")

definition = m.HostedAgentDefinition(
    cpu="0.5", memory="1Gi",
    code_configuration=m.CodeConfiguration(runtime="python_3_12", entry_point=["main.py"], dependency_resolution="bundled"),
    protocol_versions=[m.ProtocolVersionRecord(protocol="responses", version="2.0.0")])
coded = agents.create_version_from_code("coder", definition=definition, description="first", code=io.BytesIO(b"PK-code"))
assert coded.version == "1" and len(coded.definition.code_configuration.content_hash) == 64, coded
assert b"".join(agents.download_code("coder")) == b"PK-code"
refused(ResourceNotFoundError, lambda: agents.download_code("coder", agent_version="9"))
print("code")

indicator = m.VersionRefIndicator(agent_version="1")
session = agents.create_session("coder", version_indicator=indicator, agent_session_id="mine")
assert (session.agent_session_id, session.status) == ("mine", "active"), session
refused(ResourceExistsError, lambda: agents.create_session("coder", version_indicator=indicator, agent_session_id="mine"))
agents.create_session("coder", version_indicator=indicator)
assert len(list(agents.list_sessions("coder", limit=1))) == 2
agents.stop_session("coder", "mine")
stopped = agents.get_session("coder", "mine")
assert stopped.status == "idle" and stopped.stopped_at is not None, stopped
written = agents.upload_session_file("coder", "mine", b"hi", path="data/a b")
assert (written.path, written.bytes_written) == ("data/a b", 2), written
assert b"".join(agents.download_session_file("coder", "mine", path="data/a b")) == b"hi"
assert [(one.name, one.is_directory) for one in agents.list_session_files("coder", "mine")] == [("data", True)]
refused(ResourceExistsError, lambda: agents.delete_session_file("coder", "mine", path="data"))
agents.delete_session_file("coder", "mine", path="data", recursive=True)
refused(ResourceExistsError, lambda: agents.delete("coder"))
agents.delete_session("coder", "mine")
refused(ResourceNotFoundError, lambda: agents.get_session("coder", "mine"))
assert agents.delete("coder", force=True).deleted
print("sessions")

stores = project.beta.memory_stores
stores.create(name="likes", definition=m.MemoryStoreDefaultDefinition(
    chat_model="gpt-4.1", embedding_model="embed",
    options=m.MemoryStoreDefaultOptions(user_profile_enabled=True, chat_summary_enabled=False)))
assert stores.update("likes", description="new").description == "new"
first = stores.begin_update_memories(
    name="likes", scope="ada", items="my printer is HP-1", update_delay=600, polling_interval=0.05)
second = stores.begin_update_memories(
    name="likes", scope="ada", items="the projector flickers. my desk is oak", previous_update_id=first.update_id,
    update_delay=0, polling_interval=0.05)
done = second.result()
assert [(one.kind, one.memory_item.content) for one in done.memory_operations] == [
    ("create", "my printer is HP-1"), ("create", "my desk is oak")], done
first.wait(30)
assert first.superseded_by == second.update_id
found = stores.search_memories(name="likes", scope="ada", items="printer?", options=m.MemorySearchOptions(max_memories=9))
assert len(found.memories) == 2 and found.search_id, found
item = stores.create_memory("likes", scope="grace", kind="procedural", content="reboots first")
assert stores.update_memory("likes", item.memory_id, content="asks first").content == "asks first"
assert stores.get_memory("likes", item.memory_id).content == "asks first"
assert len(list(stores.list_memories("likes", scope="ada", limit=1))) == 2
assert stores.delete_memory("likes", item.memory_id).deleted
assert stores.delete_scope(name="likes", scope="ada").deleted
assert list(stores.list_memories("likes", scope="ada")) == []
assert stores.delete("likes").deleted
refused(ResourceNotFoundError, lambda: stores.get("likes"))
print("memory")
