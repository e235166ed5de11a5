"""waits.py COUNT: hears the loopback of this network namespace, and prints `took MICROSECONDS` for each of COUNT tries.

A try begins with the first packet that a client sends: a question of DNS, or the SYN of its connect. It ends with the last that
brings the client its refusal: bytes (an answer, an alert, a 403), or on a connection that brought none its reset or end. What
comes later is the client's own. Both times are the kernel's, of when the packet reached the socket. Tries are told apart by
`tries.sh`.
"""
import socket
import struct
import sys

EVERYTHING = 3  # packet(7), ETH_P_ALL
TIMESTAMPNS = 35  # asm-generic/socket.h, SO_TIMESTAMPNS_OLD
OVER = 9
FIN, SYN, RST, ACK = 1, 2, 4, 16


def heard(sniffer):
    """The next packet of TCP or UDP: when (ns), protocol, ports, flags of TCP, and how many bytes it carries."""
    while True:
        packet, notes, _, address = sniffer.recvmsg(65535, 64)
        if address[2] == socket.PACKET_OUTGOING or not notes:
            continue  # each packet of the loopback passes twice
        seconds, nanoseconds = struct.unpack("qq", notes[0][2])
        if packet[0] >> 4 == 4:
            start, protocol, end = (packet[0] & 15) * 4, packet[9], int.from_bytes(packet[2:4], "big")
        else:
            start, protocol, end = 40, packet[6], 40 + int.from_bytes(packet[4:6], "big")
        source, target = struct.unpack(">HH", packet[start:start + 4])
        if protocol == socket.IPPROTO_TCP:
            length = end - start - (packet[start + 12] >> 4) * 4
            return seconds * 10**9 + nanoseconds, protocol, source, target, packet[start + 13], length
        if protocol == socket.IPPROTO_UDP:
            return seconds * 10**9 + nanoseconds, protocol, source, target, 0, end - start - 8


def one_try(sniffer):
    """Microseconds from its first packet to the end of its refusal."""
    begun, brought, ended = None, {}, {}
    while True:
        at, protocol, source, target, flags, length = heard(sniffer)
        if protocol == socket.IPPROTO_UDP and target == OVER:
            break
        asks = flags & (SYN | ACK) == SYN if protocol == socket.IPPROTO_TCP else target == 53
        if asks:
            begun = begun or at
            ended.setdefault((protocol, source))
        client = (protocol, target)  # if it is one, this packet is for it
        if client in ended and length > 0:
            brought[client] = at
        elif client in ended and flags & (FIN | RST):
            ended[client] = ended[client] or at
    ends = [brought.get(client, end) for client, end in ended.items()]
    return (max(end for end in ends if end) - begun) // 1000


def main():
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(EVERYTHING))
    sniffer.setsockopt(socket.SOL_SOCKET, TIMESTAMPNS, 1)
    sniffer.bind(("lo", EVERYTHING))
    print("listening", flush=True)
    for _ in range(int(sys.argv[1])):
        print("took", one_try(sniffer), flush=True)


main()
