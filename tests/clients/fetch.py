"""fetch.py CLIENT URL COUNT: asks URL by one of Python's clients, COUNT times, each time as for the first time.

Prints `took MICROSECONDS` per try, then what came of the last one: its text, or the error on stderr and an end with 1.
"""
import asyncio
import os
import sys
import time


def by_requests(url):
    import requests

    return lambda: requests.get(url, timeout=20).text


def by_httpx(url):
    import httpx

    return lambda: httpx.get(url, timeout=20).text


def by_aiohttp(url):
    import aiohttp

    async def ask():
        async with aiohttp.ClientSession(trust_env=True) as session:
            async with session.get(url) as response:
                return await response.text()

    return lambda: asyncio.run(ask())


def by_sse(url):
    import httpx
    from httpx_sse import connect_sse

    def ask():
        with httpx.Client(timeout=20) as client, connect_sse(client, "GET", url) as source:
            return " ".join(event.data for event in source.iter_sse())

    return ask


def by_websockets(url):
    from websockets.sync.client import connect

    def ask():
        with connect(url, open_timeout=20) as socket:
            socket.send("hello")
            return socket.recv()

    return ask


def by_grpc(url):
    import grpc

    with open(os.environ["SSL_CERT_FILE"], "rb") as file:
        trust = grpc.ssl_channel_credentials(file.read())

    def ask():
        with grpc.secure_channel(url.removeprefix("https://").rstrip("/"), trust) as channel:
            return channel.unary_unary("/world.Greeter/Greet")(b"hello", timeout=20).decode()

    return ask


def main():
    client, url, count = sys.argv[1:]
    ask = globals()["by_" + client](url)
    for _ in range(int(count)):
        text = error = None
        begun = time.perf_counter()
        try:
            text = ask()
        except Exception as raised:
            error = raised
        print("took", round((time.perf_counter() - begun) * 1e6), flush=True)
    if error is not None:
        details = getattr(error, "details", None)
        print(f"{type(error).__name__}: {details() if details else error}", file=sys.stderr)
        sys.exit(1)
    print(text)


main()
