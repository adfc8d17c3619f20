"""Checks an export of an audit log (`aegis audit export --tenant T`) with Python's standard library alone.

    aegis audit export --tenant acme | python3 verify_export.py
"""
import hashlib, json, sys, uuid


def text(value):
    data = value.encode()
    return len(data).to_bytes(8, "big") + data


def optional(value, as_bytes):
    return b"\0" if value is None else b"\1" + as_bytes(value)


def seal(entry):
    return hashlib.sha256(
        b"AEGIS audit entry v1\0" + bytes.fromhex(entry["previous"]) + entry["seq"].to_bytes(8, "big")
        + entry["at_micros"].to_bytes(8, "big", signed=True) + text(entry["actor"]) + text(entry["action"])
        + optional(entry["run"], lambda run: uuid.UUID(run).bytes) + optional(entry["subject"], text) + text(entry["detail"])
    ).hexdigest()


first, *entries, last = [json.loads(line) for line in sys.stdin]
if first.get("format") != "aegis audit export v1":
    sys.exit(print("this is no export of an audit log") or 1)
if not last.get("end"):
    sys.exit(print("the export was cut off: its last line is missing") or 1)
begin = first["checkpoint"] or {"seq": 0, "hash": "0" * 64}
place, head = begin["seq"], begin["hash"]
for entry in entries:
    if seal(entry) != entry["hash"]:
        sys.exit(print(f"entry {entry['seq']}: its content does not give its hash") or 1)
    if first["complete"] and (entry["seq"], entry["previous"]) != (place + 1, head):
        sys.exit(print(f"entry {entry['seq']}: it does not follow the one before it") or 1)
    place, head = entry["seq"], entry["hash"]
if (last["entries"], last["head"]) != (len(entries), head):
    sys.exit(print("the last line does not agree with the entries") or 1)
print(f"{len(entries)} entries, intact, head {head}")
