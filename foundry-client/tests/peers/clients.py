"""Makes calls with openai-python and azure-ai-projects. Each request carries its name in the header x-case.

Usage: clients.py BASE, where BASE is http://127.0.0.1:PORT
"""

import io
import sys
import time

import openai
from azure.ai.projects import AIProjectClient
from azure.ai.projects import models as m
from azure.core.credentials import AccessToken

ENDPOINT = sys.argv[1] + "/api/projects/demo"


class Stub:
    def get_token(self, *scopes, **kwargs):
        return AccessToken("token-1", int(time.time()) + 3600)


project = AIProjectClient(endpoint=ENDPOINT, credential=Stub(), allow_preview=True)
base = project.get_openai_client(max_retries=0)
agent = project.get_openai_client(agent_name="helpdesk", max_retries=0)


def of(name):
    return {"x-case": name}


def case(name, call):
    try:
        result = call()
        if name.startswith("list") or name.endswith("stream"):
            for _ in result:
                pass
    except Exception as error:
        # The recorder's answers suit the wire, not every model of theirs: what was sent is what counts.
        print(f"{name}: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)


USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
REFERENCE = {"agent_reference": {"type": "agent_reference", "name": "helpdesk"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
r, c = base.responses, base.conversations

case("create", lambda: r.create(input="hi", extra_body=REFERENCE, extra_headers=of("create")))
case("create_in_conversation", lambda: r.create(
    input=[USER], conversation="conv_1", store=True, metadata={"k": "v"}, include=["file_search_call.results"],
    max_output_tokens=9, instructions="short", extra_body=REFERENCE, extra_headers=of("create_in_conversation")))
case("create_chained", lambda: r.create(
    model="gpt", input=[{"type": "function_call_output", "call_id": "call_1", "output": "{}"}],
    previous_response_id="resp_0", temperature=0.5, top_p=0.25, parallel_tool_calls=False, max_tool_calls=3,
    tool_choice="required", truncation="auto", reasoning={"effort": "low"}, safety_identifier="hash",
    tools=[{"type": "function", "name": "f", "description": "d", "parameters": SCHEMA, "strict": False}],
    extra_headers=of("create_chained")))
case("create_structured", lambda: r.create(
    model="gpt", input="hi", text={"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}},
    extra_headers=of("create_structured")))
case("create_background", lambda: r.create(model="gpt", input="hi", background=True, store=True, extra_headers=of("create_background")))
case("create_with_picture", lambda: r.create(model="gpt", input=[{"type": "message", "role": "user", "content": [
    {"type": "input_text", "text": "what is it?"},
    {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"},
    {"type": "input_file", "file_id": "file_1"},
    {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}]}],
    extra_headers=of("create_with_picture")))
case("approve", lambda: r.create(
    input=[{"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True, "reason": None}],
    previous_response_id="resp_0", extra_body=REFERENCE, extra_headers=of("approve")))
case("structured_inputs", lambda: r.create(
    input="hi", extra_body={**REFERENCE, "structured_inputs": {"customer": "Contoso"}, "agent_session_id": "sess_1"},
    extra_headers=of("structured_inputs")))
case("stream", lambda: r.create(
    input="hi", stream=True, stream_options={"include_obfuscation": False}, extra_body=REFERENCE, extra_headers=of("stream")))
case("get", lambda: r.retrieve("resp_1", extra_headers=of("get")))
case("get_with", lambda: r.retrieve("resp_1", include=["a", "b"], extra_headers=of("get_with")))
case("resume_stream", lambda: r.retrieve("resp_1", stream=True, starting_after=3, extra_headers=of("resume_stream")))
case("cancel", lambda: r.cancel("resp_1", extra_headers=of("cancel")))
case("delete", lambda: r.delete("resp_1", extra_headers=of("delete")))
case("input_items", lambda: r.input_items.list("resp_1", limit=5, order="asc", after="x", include=["a"], extra_headers=of("input_items")))
case("compact", lambda: r.compact(model="gpt", previous_response_id="resp_0", instructions="i", extra_headers=of("compact")))
case("agent_create", lambda: agent.responses.create(input="hi", extra_headers=of("agent_create")))
case("agent_get", lambda: agent.responses.retrieve("resp_1", extra_headers=of("agent_get")))
case("agent_conversation", lambda: agent.conversations.create(extra_headers=of("agent_conversation")))
case("conversation_create", lambda: c.create(items=[USER], metadata={"k": "v"}, extra_headers=of("conversation_create")))
case("conversation_get", lambda: c.retrieve("conv_1", extra_headers=of("conversation_get")))
case("conversation_update", lambda: c.update("conv_1", metadata={"k": "v"}, extra_headers=of("conversation_update")))
case("conversation_delete", lambda: c.delete("conv_1", extra_headers=of("conversation_delete")))
case("items_create", lambda: c.items.create("conv_1", items=[USER], extra_headers=of("items_create")))
case("items_list", lambda: c.items.list("conv_1", limit=5, order="asc", after="x", include=["a", "b"], extra_headers=of("items_list")))
case("item_get", lambda: c.items.retrieve("msg_1", conversation_id="conv_1", extra_headers=of("item_get")))
case("item_delete", lambda: c.items.delete("msg_1", conversation_id="conv_1", extra_headers=of("item_delete")))
case("file_get", lambda: base.files.retrieve("file_1", extra_headers=of("file_get")))
case("file_delete", lambda: base.files.delete("file_1", extra_headers=of("file_delete")))
case("files_list", lambda: base.files.list(purpose="assistants", limit=5, extra_headers=of("files_list")))
case("store_create", lambda: base.vector_stores.create(name="s", file_ids=["file_1"], extra_headers=of("store_create")))
case("store_get", lambda: base.vector_stores.retrieve("vs_1", extra_headers=of("store_get")))
case("stores_list", lambda: base.vector_stores.list(limit=5, extra_headers=of("stores_list")))
case("store_delete", lambda: base.vector_stores.delete("vs_1", extra_headers=of("store_delete")))


def foundry(name, call):
    case(name, lambda: call({"headers": of(name), "enforce_https": False}))


a = project.agents
foundry("agent_read", lambda k: a.get("helpdesk", **k))
foundry("list_agents", lambda k: a.list(kind="prompt", limit=5, **k))
foundry("agent_remove", lambda k: a.delete("helpdesk", **k))
foundry("agent_remove_force", lambda k: a.delete("helpdesk", force=True, **k))
foundry("version_create", lambda k: a.create_version("helpdesk", definition=m.PromptAgentDefinition(
    model="gpt-4.1", instructions="Be short.", temperature=0.5), description="first", metadata={"k": "v"}, **k))
foundry("version_get", lambda k: a.get_version("helpdesk", "1", **k))
foundry("list_versions", lambda k: a.list_versions("helpdesk", limit=5, **k))
foundry("version_delete", lambda k: a.delete_version("helpdesk", "1", **k))
foundry("agent_enable", lambda k: a.enable("helpdesk", **k))
foundry("agent_disable", lambda k: a.disable("helpdesk", **k))
foundry("endpoint_patch", lambda k: a.update_details("helpdesk", agent_endpoint=m.AgentEndpointConfig(
    protocol_configuration=m.ProtocolConfiguration(activity=m.ActivityProtocolConfiguration(), responses=m.ResponsesProtocolConfiguration()),
    authorization_schemes=[m.EntraAuthorizationScheme(), m.BotServiceRbacAuthorizationScheme()]), **k))
foundry("list_connections", lambda k: project.connections.list(connection_type="CognitiveSearch", default_connection=True, **k))
foundry("connection_get", lambda k: project.connections.get("search", **k))
foundry("connection_secrets", lambda k: project.connections.get("search", include_credentials=True, **k))
foundry("list_deployments", lambda k: project.deployments.list(**k))
foundry("deployment_get", lambda k: project.deployments.get("gpt", **k))
foundry("version_from_manifest", lambda k: a.create_version_from_manifest(
    "helpdesk", manifest_id="m-1", parameter_values={"tone": "kind"}, description="d", metadata={"k": "v"}, **k))
foundry("version_from_code", lambda k: a.create_version_from_code(
    "helpdesk", definition=m.HostedAgentDefinition(cpu="0.5", memory="1Gi", code_configuration=m.CodeConfiguration(
        runtime="python_3_12", entry_point=["main.py"], dependency_resolution="bundled"),
        protocol_versions=[m.ProtocolVersionRecord(protocol="responses", version="2.0.0")]),
    description="first", code=io.BytesIO(b"PK-code"), **k))
foundry("code_download", lambda k: b"".join(a.download_code("helpdesk", agent_version="2", **k)))
foundry("session_create", lambda k: a.create_session(
    "helpdesk", version_indicator=m.VersionRefIndicator(agent_version="2"), agent_session_id="s1", **k))
foundry("session_get", lambda k: a.get_session("helpdesk", "s1", **k))
foundry("list_sessions", lambda k: a.list_sessions("helpdesk", limit=5, **k))
foundry("session_delete", lambda k: a.delete_session("helpdesk", "s1", **k))
foundry("session_stop", lambda k: a.stop_session("helpdesk", "s1", **k))
foundry("session_logs", lambda k: a.get_session_log_stream("helpdesk", "2", "s1", **k))
f = project.beta.agents if hasattr(project.beta, "agents") and hasattr(project.beta.agents, "list_session_files") else a
foundry("list_session_files", lambda k: f.list_session_files("helpdesk", "s1", path="/data", limit=5, **k))
foundry("session_file_upload", lambda k: f.upload_session_file("helpdesk", "s1", b"hi", path="/data/a b", **k))
foundry("session_file_download", lambda k: b"".join(f.download_session_file("helpdesk", "s1", path="/data/a b", **k)))
foundry("session_file_delete", lambda k: f.delete_session_file("helpdesk", "s1", path="/data", recursive=True, **k))
s = project.beta.memory_stores
foundry("memory_store_create", lambda k: s.create(
    name="m", description="d", metadata={"k": "v"}, definition=m.MemoryStoreDefaultDefinition(
        chat_model="gpt", embedding_model="embed",
        options=m.MemoryStoreDefaultOptions(user_profile_enabled=True, chat_summary_enabled=False)), **k))
foundry("memory_store_update", lambda k: s.update("m", description="new", **k))
foundry("memory_store_delete", lambda k: s.delete("m", **k))
foundry("memory_remember", lambda k: s.begin_update_memories(
    name="m", scope="user", items=[USER], previous_update_id="u0", update_delay=60, polling=False, **k))
foundry("memory_create", lambda k: s.create_memory("m", scope="user", kind="user_profile", content="tea", **k))
foundry("memory_get", lambda k: s.get_memory("m", "i1", **k))
foundry("memory_update", lambda k: s.update_memory("m", "i1", content="coffee", **k))
foundry("memory_delete", lambda k: s.delete_memory("m", "i1", **k))
foundry("list_memories", lambda k: s.list_memories("m", scope="user", kind="user_profile", limit=5, **k))
foundry("list_memory_stores", lambda k: s.list(limit=5, **k))
foundry("memory_store_get", lambda k: s.get("m", **k))
foundry("memory_search", lambda k: s.search_memories(
    name="m", scope="user", items=[USER], options=m.MemorySearchOptions(max_memories=5), **k))
foundry("memory_forget", lambda k: s.delete_scope(name="m", scope="user", **k))
t = project.toolboxes
foundry("list_toolboxes", lambda k: t.list(limit=5, **k))
foundry("toolbox_get", lambda k: t.get("t", **k))
foundry("toolbox_version", lambda k: t.get_version("t", "1", **k))
PUBLISH = dict(
    bot_service_arm_id="/subscriptions/s/resourceGroups/g/providers/Microsoft.BotService/botServices/b",
    publish_scope="Tenant", app_version="1.0.0", agent_display_name="Help", short_description="s", full_description="f",
    developer_name="Contoso", developer_website_url="https://contoso.example",
    privacy_url="https://contoso.example/privacy", terms_of_use_url="https://contoso.example/terms")

foundry("publish", lambda k: a.publish_to_microsoft365("helpdesk", **PUBLISH, **k))
foundry("publish_autopilot", lambda k: a.publish_to_microsoft365(
    "helpdesk", publish_scope="Tenant", publish_as_autopilot=True, can_respond_without_mention=True,
    access_boundaries=["read.1on1.tenant"], app_version="1.0.1", **k))
foundry("package", lambda k: b"".join(a.get_microsoft365_package("helpdesk", **PUBLISH, **k)))
foundry("publish_defaults", lambda k: a.get_microsoft365_publish_defaults("helpdesk", publish_as_digital_worker=False, **k))
