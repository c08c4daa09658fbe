"""The Responses server that hosted agents run, on loopback. What it does is named by the user's text.

Usage: agentserver.py PORT
"""

import asyncio
import sys

from azure.ai.agentserver.responses import (
    InMemoryResponseProvider,
    ResponseEventStream,
    ResponsesAgentServerHost,
    ResponsesServerOptions,
    TextResponse,
)

app = ResponsesAgentServerHost(
    store=InMemoryResponseProvider(),
    options=ResponsesServerOptions(sse_keep_alive_interval_seconds=1),
)


def said(request):
    source = request.get("input")
    if isinstance(source, str):
        return source
    for item in source or []:
        if item.get("type") == "function_call_output":
            return "the function said " + item["output"]
        for part in item.get("content") or []:
            if isinstance(part, dict) and part.get("text"):
                return part["text"]
    return ""


async def words(text, pause, cancelled):
    for word in text.split(" "):
        if cancelled.is_set():
            return
        yield word + " "
        await asyncio.sleep(pause)


async def events(request, context, cancelled):
    what = said(request)
    stream = ResponseEventStream(request=request, response_id=context.response_id)
    yield stream.emit_created()
    yield stream.emit_in_progress()
    if what == "call":
        for event in stream.output_item_function_call("get_weather", "call_1", '{"city":"Ghent"}'):
            yield event
    elif what == "approve":
        for event in stream.output_item_mcp_approval_request("jira", "create", "{}"):
            yield event
    elif what == "crash":
        raise RuntimeError("crashed on purpose")
    else:
        for event in stream.output_item_message("half an answer"):
            yield event
    if what == "incomplete":
        yield stream.emit_incomplete(reason="max_output_tokens")
    elif what == "failed":
        yield stream.emit_failed(code="rate_limit_exceeded", message="slow down")
    else:
        yield stream.emit_completed()


@app.response_handler
async def handle(request, context, cancelled):
    what = said(request)
    if what in ("call", "approve", "crash", "incomplete", "failed"):
        return events(request, context, cancelled)
    if what == "slow":
        return TextResponse(context, request, text=words("one two three four five six", 1.2, cancelled))
    if what == "steps":
        return TextResponse(context, request, text=words("one two three", 0.05, cancelled))
    return TextResponse(context, request, text="You said: " + what)


app.run(host="127.0.0.1", port=int(sys.argv[1]))
