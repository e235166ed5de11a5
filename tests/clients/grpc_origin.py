"""grpc_origin.py PORT DIRECTORY LOG: a gRPC server behind TLS; writes a line per call."""
import sys
from concurrent import futures

import grpc

port, directory, log = sys.argv[1:]


def greet(request, _context):
    with open(log, "a") as file:
        print("Greet", request.decode(), file=file)
    return b"hello from grpc"


def read(name):
    with open(f"{directory}/{name}", "rb") as file:
        return file.read()


server = grpc.server(futures.ThreadPoolExecutor(2))
handlers = {"Greet": grpc.unary_unary_rpc_method_handler(greet)}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("world.Greeter", handlers),))
server.add_secure_port(f"0.0.0.0:{port}", grpc.ssl_server_credentials([(read("origin.key"), read("origin.pem"))]))
server.start()
server.wait_for_termination()
