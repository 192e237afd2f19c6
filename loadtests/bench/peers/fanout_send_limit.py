"""The yardstick: a loop that send()s a ready-made frame to every socket and does nothing else. No server is less.

It takes any opening handshake, keeps nothing of a viewer but its socket, and never waits: a socket that is full is an
error here, where a server would have to know what to do.
"""

import base64
import hashlib
import selectors
import socket
import struct
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def shake_hands(viewer: socket.socket) -> bool:
    """Answer an opening handshake, if one comes."""
    said = b""
    while b"\r\n\r\n" not in said:
        more = viewer.recv(4_096)
        if not more:
            return False
        said += more
    lines = dict(line.split(b": ", 1) for line in said.split(b"\r\n")[1:] if b": " in line)
    named = {name.lower(): value for name, value in lines.items()}
    accept = base64.b64encode(
        hashlib.sha1(named.get(b"sec-websocket-key", b"") + GUID).digest()  # noqa: S324 - RFC 6455 has it so
    )
    viewer.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    return True


def framed(text: bytes) -> bytes:
    """Return a text frame."""
    size = len(text)
    return (bytes([0x81, size]) if size < 126 else b"\x81\x7e" + struct.pack("!H", size)) + text


def main() -> None:
    """Serve until standard input ends."""
    chooser = selectors.DefaultSelector()
    door = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1_024)
    chooser.register(door, selectors.EVENT_READ)
    chooser.register(sys.stdin.buffer, selectors.EVENT_READ)
    lines = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115 - it lasts as long as we do
    viewers: list[socket.socket] = []
    rest = b""
    while True:
        for key, _ in chooser.select():
            if key.fileobj is door:
                viewer, _ = door.accept()
                viewer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if shake_hands(viewer):
                    viewer.settimeout(0)
                    viewers.append(viewer)
                continue
            came = lines.read(65_536)
            if not came:
                return
            *whole, rest = (rest + came).split(b"\n")
            for text in whole:
                frame = framed(text)
                for viewer in viewers:
                    viewer.send(frame)


if __name__ == "__main__":
    main()
