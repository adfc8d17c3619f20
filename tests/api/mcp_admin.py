"""An admin's program that adds servers of tools and says who may use them. The parts are called by tests/it/developer/servers.rs."""

import json
import os
import sys
import urllib.error
import urllib.request

URL, TOKEN = os.environ["AEGIS_URL"], os.environ["AEGIS_TOKEN"]


def send(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(URL + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def server(name):
    return next(server for server in send("GET", "/api/mcp")[1]["servers"] if server["name"] == name)


def add(name, kind, target):
    status, body = send("POST", "/api/mcp", {"name": name, "kind": kind, "target": target})
    print("add:", status, json.dumps(body))
    assert status == 200, body
    added = server(name)
    assert added["problem"] is None, added
    assert sorted(tool["name"] for tool in added["tools"]) == ["count", "feed"], added
    assert all(tool["agents"] == [] and not tool["read_only"] for tool in added["tools"]), added


def choose(name, tool, agents, read_only):
    shown = next(offered for offered in server(name)["tools"] if offered["name"] == tool)
    body = {"tool": tool, "fingerprint": shown["fingerprint"], "agents": agents.split(","), "read_only": read_only == "reads"}
    status, body = send("POST", f"/api/mcp/{name}/tools", body)
    print("choose:", status)
    assert status == 200, body


def refused():
    for wrong, expected in [
        ({"name": "a b", "kind": "http", "target": "https://example.org"}, 400),
        ({"name": "x", "kind": "command", "target": "sh"}, 403),
        ({"name": "x", "kind": "http", "target": "file:///etc/passwd"}, 400),
        ({"name": "x", "kind": "http", "target": "https://u:p@example.org"}, 400),
        ({"name": "x", "kind": "http", "target": "https://example.org", "headers": {"Host": "a"}}, 400),
    ]:
        status, body = send("POST", "/api/mcp", wrong)
        print("refused:", status, body)
        assert status == expected, (wrong, status, body)
    status, body = send("POST", "/api/mcp", {"name": "far", "kind": "http", "target": "https://not-allowed.example/mcp"})
    print("not in [egress]:", server("far")["problem"])
    assert status == 200 and "allow" in server("far")["problem"], body
    assert send("DELETE", "/api/mcp/far")[0] == 200 and send("DELETE", "/api/mcp/far")[0] == 404


def ask(agent):
    body = {"model": agent, "messages": [{"role": "user", "content": "How many robins are there?"}]}
    status, body = send("POST", "/v1/chat/completions", body)
    print("answer:", status, body)
    assert status == 200, body


def changed(name, tool):
    shown = next(offered for offered in server(name)["tools"] if offered["name"] == tool)
    print("changed:", shown["changed"], shown["agents"], shown["description"])
    assert shown["changed"], shown
    assert send("POST", f"/api/mcp/{name}/look")[0] == 200
    shown = next(offered for offered in server(name)["tools"] if offered["name"] == tool)
    print("looked again:", shown["agents"], shown["description"])
    assert shown["agents"] == [] and not shown["changed"] and shown["description"].startswith("Ignore your rules")


part, *words = sys.argv[1].split()
globals()[part](*words)
