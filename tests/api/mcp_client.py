"""What the official `mcp` package makes of `/mcp`. The parts are called by tests/it/developer/mcp.rs."""

import asyncio
import http.client
import json
import os
import sys
from urllib.parse import urlsplit

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

URL = os.environ["AEGIS_URL"] + "/mcp"
TOKEN = os.environ["AEGIS_TOKEN"]
QUESTION = "How long is parental leave?"


def connect(mode):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    transport = streamable_http_client(URL, http_client=httpx2.AsyncClient(headers=headers, timeout=60))
    return Client(transport, mode=mode)


async def everything(mode):
    async with connect(mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        print(f"mode {mode}: {client.protocol_version}, tools {sorted(tools)}")
        assert sorted(tools) == ["ask_agent", "read_passage", "search_knowledge"]
        assert tools["ask_agent"].input_schema["properties"]["agent"]["enum"], tools["ask_agent"]
        found = (await client.call_tool("search_knowledge", {"query": "parental leave", "limit": 3})).structured_content
        passage = found["passages"][0]
        print("   search_knowledge:", passage["document"], "·", passage["place"], "·", passage["url"])
        assert "sixteen weeks" in passage["text"]
        read = await client.call_tool("read_passage", {"passage_id": passage["passage_id"], "before": 0})
        assert read.structured_content["passages"][0]["passage_id"] == passage["passage_id"]
        progress = []

        async def heard(done, total, message):
            progress.append((done, message))

        answer = await client.call_tool("ask_agent", {"question": QUESTION}, progress_callback=heard)
        told = answer.structured_content
        print("   ask_agent:", told["answer"], "by", told["model"])
        print("   progress:", progress)
        assert told["answer"] == "Parental leave is sixteen weeks. [1]"
        assert told["citations"][0]["passage_id"] == passage["passage_id"]
        assert progress and [done for done, _ in progress] == sorted(done for done, _ in progress)
        for name, wrong in [
            ("ask_agent", {"question": ""}),
            ("ask_agent", {"question": "?", "agent": "zeus"}),
            ("search_knowledge", {"query": 3}),
            ("read_passage", {"passage_id": "00000000-0000-7000-8000-000000000000"}),
            ("read_passage", {"passage_id": "x"}),
        ]:
            refused = await client.call_tool(name, wrong)
            print("   refused:", name, refused.content[0].text)
            assert refused.is_error
    return passage["passage_id"]


async def modern():
    print("passage", await everything("2026-07-28"))


async def auto():
    await everything("auto")


async def legacy():
    await everything("legacy")


async def cancel():
    async with connect("auto") as client:
        with anyio.move_on_after(2):
            await client.call_tool("ask_agent", {"question": QUESTION})
            raise AssertionError("it takes longer")
    print("cancelled")


async def narrow():
    async with connect("auto") as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        print("tools of a token for chat:", names)
        assert names == ["ask_agent"]
        refused = await client.call_tool("search_knowledge", {"query": "leave"})
        print("   refused:", refused.content[0].text)
        assert refused.is_error and "knowledge:read" in refused.content[0].text


async def foreign(passage):
    async with connect("auto") as client:
        found = (await client.call_tool("search_knowledge", {"query": "parental leave"})).structured_content
        assert found == {"passages": []}, found
        refused = await client.call_tool("read_passage", {"passage_id": passage})
        print("another organisation's token:", refused.content[0].text)
        assert refused.is_error and "does not exist" in refused.content[0].text


def post(message, token=TOKEN, **headers):
    place = urlsplit(URL)
    connection = http.client.HTTPConnection(place.hostname, place.port)
    usual = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if token:
        usual["Authorization"] = f"Bearer {token}"
    connection.request("POST", place.path, json.dumps(message), {**usual, **headers})
    answer = connection.getresponse()
    body = answer.read().decode()
    data = [line[6:] for line in body.splitlines() if line.startswith("data: {")]
    return answer.status, dict(answer.getheaders()), json.loads(data[-1]) if data else body


async def doors(other):
    list_tools = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}
    for revision in ["2025-06-18", "2025-11-25"]:
        client = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
        begin = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client}
        status, headers, answer = post(begin)
        print(revision, status, answer["result"]["protocolVersion"], answer["result"]["serverInfo"])
        assert status == 200 and answer["result"]["protocolVersion"] == revision
        # Without sessions there is none to take over: an invented name of one changes nothing for nobody.
        assert "mcp-session-id" not in {name.lower() for name in headers}
        status, _, answer = post(list_tools, **{"MCP-Protocol-Version": revision})
        assert status == 200 and len(answer["result"]["tools"]) == 3, answer
    stolen = {"MCP-Protocol-Version": "2025-06-18", "Mcp-Session-Id": "that-of-somebody-else"}
    status, _, answer = post(list_tools, token=other, **stolen)
    print("with another's session id:", status, [tool["name"] for tool in answer["result"]["tools"]])
    assert [tool["name"] for tool in answer["result"]["tools"]] == ["ask_agent"]
    for what, wanted, changed in [
        ("nobody", 401, {"token": None}),
        ("a bad token", 401, {"token": "aegis_" + "x" * 43}),
        ("another origin", 403, {"Origin": "https://evil.example"}),
        ("no origin at all, says a browser", 403, {"Origin": "null"}),
        ("a rebound name", 403, {"Host": "rebound.example"}),
        ("the wrong kind", 415, {"Content-Type": "text/plain"}),
    ]:
        status, _, body = post(list_tools, **changed)
        print(f"{what}: {status} {str(body)[:90]}")
        assert status == wanted, (status, body)
    status, _, body = post({**list_tools, "params": {"x": "a" * 2_000_000}})
    print("two megabytes:", status)
    assert status == 413, (status, body)


part, *words = sys.argv[1].split()
asyncio.run(globals()[part](*words))
