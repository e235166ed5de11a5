"""Writes a record of so many lines, as a busy run would: record.py LINES FILE. For measuring how records are read."""
import hashlib
import sys

REQUEST = (
    '"event":"request","id":{id},"decision":"{decision}","reason":{reason},"rule":{rule},"via":"connect",'
    '"method":"CONNECT","host":"{host}","port":443,"sni":null,"address":null,"generation":1,'
    '"process":{{"pid":4711,"exe":"/usr/bin/curl"}},"dropped":[]'
)
RULE = '{"file":"opencode-sandbox-config.yaml","line":4,"text":".example.org"}'


def event(seq):
    if seq == 1:
        return '"event":"start","version":"0.1.0","mode":"filtered","engine":"native"'
    kind = seq % 3
    if kind == 0:
        host = f"h{seq % 10_000}.example.com"
        return REQUEST.format(id=seq, decision="deny", reason='"not-whitelisted"', rule="null", host=host)
    if kind == 1:
        return REQUEST.format(id=seq, decision="allow", reason="null", rule=RULE, host="api.example.org")
    return f'"event":"close","id":{seq - 1},"outcome":"done","bytes_up":1731,"bytes_down":48211,"duration_ms":412'


def main(lines, path):
    prev = "0" * 64
    with open(path, "wb") as record:
        for seq in range(1, lines + 1):
            time = f"2026-11-21T01:{seq // 60_000 % 60:02}:{seq // 1000 % 60:02}.{seq % 1000:03}Z"
            body = (
                f'{{"v":1,"seq":{seq},"prev":"{prev}","time":"{time}","sandbox":"demo-868d69",'
                f'"run":"20261121T011400Z-5f3a9c",{event(seq)}'
            )
            line = f'{body},"digest":"{hashlib.sha256(body.encode()).hexdigest()}"}}'.encode()
            prev = hashlib.sha256(line).hexdigest()
            record.write(line + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
