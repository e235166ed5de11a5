// origins.mjs KIND PORT DIRECTORY LOG: an origin that speaks HTTP/2 and server-sent events, or WebSockets, behind TLS.
// Writes a line per request.
import { appendFileSync, readFileSync } from "node:fs";
import http2 from "node:http2";
import https from "node:https";
import { createRequire } from "node:module";

const [kind, port, directory, log] = process.argv.slice(2);
const installed = createRequire("/home/suite/clients/package.json");
const identity = { cert: readFileSync(`${directory}/origin.pem`), key: readFileSync(`${directory}/origin.key`) };
const note = (line) => appendFileSync(log, `${line}\n`);

const origins = {
  http2: () =>
    http2.createSecureServer({ ...identity, allowHTTP1: true }, (request, response) => {
      note(`${request.httpVersion} ${request.url}`);
      if (request.url !== "/events") {
        response.end(`hello from HTTP/${request.httpVersion}\n`);
        return;
      }
      response.setHeader("content-type", "text/event-stream");
      const words = ["hello", "from", "a", "stream"];
      const next = () => {
        if (words.length === 0) return response.end();
        response.write(`data: ${words.shift()}\n\n`);
        setTimeout(next, 50);
      };
      next();
    }),

  ws: () => {
    const server = https.createServer(identity);
    new (installed("ws").WebSocketServer)({ server }).on("connection", (socket, request) => {
      note(`upgrade ${request.url}`);
      socket.on("message", (data) => socket.send(`${data} from a socket`));
    });
    return server;
  },
};

origins[kind]().listen(Number(port), "0.0.0.0");
