"""What an agent does to get out: attacks one after the other, parted by `+`, and for each one JSON object of what the
client saw of it.

raw HEX            sends the bytes to the proxy and reads until it is closed
tunnel AUTH SNI    CONNECT AUTH, TLS with that SNI ("-": none), a GET inside
inside AUTH HEX    CONNECT AUTH, then these bytes
tcp ADDRESS PORT HEX, udp ADDRESS PORT HEX    to that address, round the proxy
"""
import json
import os
import re
import socket
import ssl
import sys

PROXY = (os.environ.get("ATTACK_PROXY", "127.0.0.1"), 3128)
# A peer may keep a connection that it refused; waiting for its end tells nothing.
LIMIT = float(os.environ.get("ATTACK_LIMIT", "4"))


def read(s):
    """Everything until the end, and whether there was an end."""
    data = b""
    try:
        while True:
            piece = s.recv(65536)
            if not piece:
                return data, True
            data += piece
    except TimeoutError:
        return data, False
    except OSError:
        return data, True


def head(s):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = s.recv(1)
        if not piece:
            break
        data += piece
    return data


def told(data, closed):
    statuses = [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d\d\d) ", data)]
    print(json.dumps({"statuses": statuses, "text": data.decode("latin1")[-4000:], "closed": closed}))


def connected(authority):
    s = socket.create_connection(PROXY, LIMIT)
    s.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode("latin1"))
    return s, head(s)


def main(kind, *words):
    if kind == "raw":
        s = socket.create_connection(PROXY, LIMIT)
        s.sendall(bytes.fromhex(words[0]))
        told(*read(s))
    elif kind == "inside":
        s, answer = connected(words[0])
        if b" 200 " in answer:
            s.sendall(bytes.fromhex(words[1]))
        rest, closed = read(s)
        told(answer + rest, closed)
    elif kind == "tunnel":
        authority, sni = words
        s, answer = connected(authority)
        if b" 200 " not in answer:
            rest, closed = read(s)
            return told(answer + rest, closed)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            s = context.wrap_socket(s, server_hostname=None if sni == "-" else sni)
            s.sendall(f"GET / HTTP/1.1\r\nHost: {authority.split(':')[0]}\r\nConnection: close\r\n\r\n".encode())
            told(*read(s))
        except OSError as error:
            told(answer + str(error).encode(), True)
    elif kind in ("tcp", "udp"):
        address, port, data = words
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        s.settimeout(LIMIT)
        try:
            s.connect((address, int(port)))
            s.sendall(bytes.fromhex(data))
        except OSError as error:
            return told(f"refused: {error}".encode(), not isinstance(error, TimeoutError))
        told(*read(s))


attacks = [[]]
for word in sys.argv[1:]:
    if word == "+":
        attacks.append([])
    else:
        attacks[-1].append(word)
for attack in attacks:
    try:
        main(*attack)
    except OSError as error:
        print(json.dumps({"statuses": [], "text": f"not made: {error}", "closed": False}))
