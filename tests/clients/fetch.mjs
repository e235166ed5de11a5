// fetch.mjs CLIENT URL COUNT: asks URL by one of Node's clients, COUNT times, each time as for the first time.
// Prints `took MICROSECONDS` per try, then what came of the last one: its text, or the error on stderr and an end with 1.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import http2 from "node:http2";

const [client, url, count] = process.argv.slice(2);
const installed = createRequire("/home/suite/clients/package.json");

const clients = {
  fetch: async () => (await fetch(url)).text(),

  http2: () =>
    new Promise((resolve, reject) => {
      const session = http2.connect(url);
      session.on("error", reject);
      const stream = session.request({ ":path": "/" });
      let text = "";
      stream.setEncoding("utf8");
      stream.on("data", (part) => (text += part));
      stream.on("error", reject);
      stream.on("end", () => session.close(() => resolve(text)));
    }),

  ws: () =>
    new Promise((resolve, reject) => {
      const { WebSocket } = installed("ws");
      const socket = new WebSocket(url);
      socket.on("error", reject);
      socket.on("open", () => socket.send("hello"));
      socket.on("message", (data) => {
        socket.close();
        resolve(String(data));
      });
    }),

  grpc: () =>
    new Promise((resolve, reject) => {
      const grpc = installed("@grpc/grpc-js");
      const trust = grpc.credentials.createSsl(readFileSync(process.env.SSL_CERT_FILE));
      // A retry is the client's own patience, and not what is measured.
      const channel = new grpc.Client(new URL(url).host, trust, { "grpc.enable_retries": 0 });
      const asIs = (bytes) => bytes;
      channel.makeUnaryRequest("/world.Greeter/Greet", asIs, asIs, Buffer.from("hello"), (error, answer) => {
        channel.close();
        error ? reject(error) : resolve(String(answer));
      });
    }),
};

let text, error;
for (let done = 0; done < Number(count); done++) {
  text = error = undefined;
  const begun = performance.now();
  try {
    text = await clients[client]();
  } catch (raised) {
    error = raised;
  }
  console.log("took", Math.round((performance.now() - begun) * 1000));
}
if (error) {
  console.error(`${error.message}${error.cause ? `: ${error.cause.message}` : ""}`);
  process.exit(1);
}
console.log(text);
process.exit(0);
