// Drives every tool of `ocs mcp` with the official TypeScript SDK, and prints what came of it as JSON.
// usage: mcp_client.mjs stdio COMMAND.. | mcp_client.mjs http URL TOKEN
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.OCS_MCP_CLIENTS}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)).href);
const { Client } = await load("client/index.js");
const { StdioClientTransport } = await load("client/stdio.js");
const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js");

const [how, ...rest] = process.argv.slice(2);
const transport =
  how === "stdio"
    ? new StdioClientTransport({ command: rest[0], args: rest.slice(1), env: process.env, stderr: "inherit" })
    : new StreamableHTTPClientTransport(new URL(rest[0]), {
        requestInit: { headers: { Authorization: `Bearer ${rest[1]}` } },
      });
const client = new Client({ name: "tests", version: "1" });
await client.connect(transport);
const seen = {};
let progress = 0;
const call = async (name, given = {}) => {
  const options = { timeout: 300000, onprogress: () => (progress += 1) };
  const result = await client.callTool({ name, arguments: given }, undefined, options);
  const text = result.content.filter((part) => part.type === "text").map((part) => part.text).join("");
  return { error: Boolean(result.isError), text, data: result.structuredContent ?? null };
};
seen.tools = (await client.listTools()).tools.map((tool) => tool.name).sort();
seen.run = await call("run_in_sandbox", { task: "run", timeout: 120 });
seen.delegate = await call("delegate_task", { instructions: "delegate" });
const long = call("delegate_task", { instructions: "long" });
while (!(await call("list_project_files", { pattern: "begun" })).text.includes("begun")) {
  await new Promise((done) => setTimeout(done, 100));
}
seen.busy = await call("delegate_task", { instructions: "another" });
seen.status_at_work = (await call("get_project_status")).data.delegated_task;
seen.abort = await call("abort_task");
seen.aborted = await long;
seen.abort_nothing = await call("abort_task");
seen.again = await call("delegate_task", { instructions: "delegate" });
seen.timeout = await call("run_in_sandbox", { task: "long", timeout: 3 });
seen.read = await call("read_project_file", { path: "made.txt" });
seen.list = await call("list_project_files");
seen.status = await call("get_project_status");
seen.refused = await call("get_refused_requests", { since: "1h" });
seen.bad_since = await call("get_refused_requests", { since: "soon" });
seen.empty = await call("run_in_sandbox", { task: " " });
for (const [name, path] of [["dots", "../outside"], ["link", "out"], ["up", "up/outside"], ["magic", "magic"], ["absolute", "/etc/passwd"]]) {
  seen[`escape_${name}`] = await call("read_project_file", { path });
}
seen.escape_list = await call("list_project_files", { path: ".." });
seen.progress = progress;
console.log(JSON.stringify(seen));
await client.close();
