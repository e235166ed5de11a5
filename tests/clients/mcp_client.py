"""Drives every tool of `ocs mcp` with the official Python SDK, and prints what came of it as JSON.

usage: mcp_client.py stdio COMMAND.. | mcp_client.py http URL TOKEN
"""

import asyncio
import contextlib
import json
import sys

import httpx2
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


@contextlib.asynccontextmanager
async def streams(arguments):
    if arguments[0] == "stdio":
        parameters = StdioServerParameters(command=arguments[1], args=arguments[2:], env=None)
        async with stdio_client(parameters) as pair:
            yield pair[0], pair[1]
    else:
        headers = {"Authorization": f"Bearer {arguments[2]}"}
        async with httpx2.AsyncClient(headers=headers, timeout=300) as http:
            async with streamable_http_client(arguments[1], http_client=http) as pair:
                yield pair[0], pair[1]


def field(result, *names):
    for name in names:
        if hasattr(result, name):
            return getattr(result, name)
    return None


async def main(arguments):
    seen = {}
    progress = []

    async def on_progress(done, total, message):
        progress.append(done)

    async with streams(arguments) as (read, write):
        async with ClientSession(read, write) as session:
            await session.initialize()
            seen["tools"] = sorted(tool.name for tool in (await session.list_tools()).tools)

            async def call(name, **given):
                result = await session.call_tool(name, given, progress_callback=on_progress)
                text = "".join(part.text for part in result.content if part.type == "text")
                return {
                    "error": bool(field(result, "isError", "is_error")),
                    "text": text,
                    "data": field(result, "structuredContent", "structured_content"),
                }

            seen["run"] = await call("run_in_sandbox", task="run", timeout=120)
            seen["delegate"] = await call("delegate_task", instructions="delegate")
            long = asyncio.create_task(call("delegate_task", instructions="long"))
            while "begun" not in (await call("list_project_files", pattern="begun"))["text"]:
                await asyncio.sleep(0.1)
            seen["busy"] = await call("delegate_task", instructions="another")
            seen["status_at_work"] = (await call("get_project_status"))["data"]["delegated_task"]
            seen["abort"] = await call("abort_task")
            seen["aborted"] = await long
            seen["abort_nothing"] = await call("abort_task")
            seen["again"] = await call("delegate_task", instructions="delegate")
            seen["timeout"] = await call("run_in_sandbox", task="long", timeout=3)
            seen["read"] = await call("read_project_file", path="made.txt")
            seen["list"] = await call("list_project_files")
            seen["status"] = await call("get_project_status")
            seen["refused"] = await call("get_refused_requests", since="1h")
            seen["bad_since"] = await call("get_refused_requests", since="soon")
            seen["empty"] = await call("run_in_sandbox", task=" ")
            for name, path in [("dots", "../outside"), ("link", "out"), ("up", "up/outside"), ("magic", "magic"), ("absolute", "/etc/passwd")]:
                seen["escape_" + name] = await call("read_project_file", path=path)
            seen["escape_list"] = await call("list_project_files", path="..")
            seen["progress"] = len(progress)
    print(json.dumps(seen))


asyncio.run(main(sys.argv[1:]))
