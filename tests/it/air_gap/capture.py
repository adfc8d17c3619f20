"""Prints a line for each frame on an interface, until standard input is closed: capture.py INTERFACE"""

import ipaddress
import select
import socket
import struct
import sys

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}


def describe(frame: bytes) -> str:
    kind, packet = struct.unpack("!H", frame[12:14])[0], frame[14:]
    if kind == 0x0800:
        protocol, payload = packet[9], packet[(packet[0] & 15) * 4 :]
        target = str(ipaddress.ip_address(packet[16:20]))
    elif kind == 0x86DD:
        protocol, payload = packet[6], packet[40:]
        target = f"[{ipaddress.ip_address(packet[24:40])}]"
    else:
        return f"frame of type {kind:#06x}"
    name = PROTOCOLS.get(protocol, f"protocol {protocol}")
    if protocol in (6, 17) and len(payload) >= 4:
        target += f":{struct.unpack('!H', payload[2:4])[0]}"
    return f"{name} {target}"


ETH_P_ALL = 3
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as listener:
    listener.bind((sys.argv[1], 0))
    print("listening", flush=True)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if listener in ready:
            print(describe(listener.recv(65535)), flush=True)
        elif sys.stdin in ready:
            break
print("ended", flush=True)
