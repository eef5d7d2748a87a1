import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { load } from "./load.mjs";

const { baseOf, curlOf, groupsOf, isFound, missingIn, requestOf } = await load("api/server/doc/request.js");

const string = { type: "string" };
const root = {
  security: [{ key: [] }],
  tags: [{ name: "second" }, { name: "unused" }],
  components: {
    securitySchemes: {
      key: { type: "http", scheme: "Bearer" },
      own: { type: "apiKey", in: "header", name: "x-api-key" },
    },
    parameters: { limit: { name: "limit", in: "query", schema: { type: "integer" } } },
  },
  paths: {
    "/first/{name}": {
      parameters: [{ name: "name", in: "path", required: true, schema: string }],
      get: {
        tags: ["first"],
        summary: "Read it",
        parameters: [
          { $ref: "#/components/parameters/limit" },
          { name: "tag", in: "query", schema: { type: "array", items: string } },
          { name: "If-Match", in: "header", schema: string },
          { name: "Authorization", in: "header", schema: string },
        ],
        responses: { 200: { description: "It", content: { "text/event-stream": {} } } },
      },
      delete: { tags: ["first"], security: [{ own: [] }] },
    },
    "/second": { post: { tags: ["second"], security: [], requestBody: { content: { "application/json": {} } } } },
    "/untold": { get: { security: [{ unknown: [] }] } },
  },
};
const lookUp = (reference) =>
  reference
    .split("/")
    .slice(1)
    .reduce((found, name) => found[name], root);
const groups = groupsOf(root, lookUp);
const operations = Object.fromEntries(groups.flatMap((each) => each.operations).map((each) => [each.id, each]));
const read = operations["get-first-name"];
const base = "http://localhost:8190/api";
const fill = (values, content = null) => requestOf(read, { base, values, content });

test("operations come in groups by tag, in the order of the tags, and none is lost", () => {
  assert.deepEqual(
    groups.map((each) => each.name),
    ["second", "first", "Other"],
  );
  assert.equal(Object.keys(operations).length, 4);
});

test("a webhook comes last, without a key, and its id is that of no operation", () => {
  const post = { summary: "Told", requestBody: { content: { "application/json": {} } } };
  const found = groupsOf({ ...root, webhooks: { "first.done": { post } } }, lookUp);
  const [told] = found.at(-1).operations;
  assert.equal(found.at(-1).name, "Webhooks");
  assert.deepEqual([told.id, told.credential, told.isWebhook], ["webhook-first-done", null, true]);
  assert.ok(groups.flatMap((each) => each.operations).every((each) => !each.isWebhook));
});

test("parameters of the path and references are part of an operation, and headers of the browser's own are not", () => {
  assert.deepEqual(
    read.parameters.map((each) => each.name),
    ["name", "limit", "tag", "If-Match"],
  );
});

test("the key goes where the document says, and nowhere when it says none", () => {
  assert.deepEqual(read.credential, { header: "Authorization", scheme: "Bearer " });
  assert.deepEqual(operations["delete-first-name"].credential, { header: "x-api-key", scheme: "" });
  assert.equal(operations["post-second"].credential, null);
  assert.equal(operations["get-untold"].credential, null);
});

test("a header that a shell would execute is no place for a key", () => {
  const schemes = { bad: { type: "apiKey", in: "header", name: "x$(reboot)" } };
  const bad = { security: [{ bad: [] }], components: { securitySchemes: schemes }, paths: { "/x": { get: {} } } };
  assert.equal(groupsOf(bad, lookUp)[0].operations[0].credential, null);
});

test("every word of a filter has to be in the method, the path, the summary or the tag", () => {
  assert.ok(isFound(read, "GET first"));
  assert.ok(isFound(read, "  read "));
  assert.ok(isFound(read, ""));
  assert.ok(!isFound(read, "get second"));
});

test("paths start in the folder of the document, or where it says, but never on another origin", () => {
  const address = "https://host/some/api/openapi.json";
  assert.equal(baseOf({}, address), "https://host/some/api");
  assert.equal(baseOf({ servers: [{ url: "." }] }, address), "https://host/some/api");
  assert.equal(baseOf({ servers: [{ url: "/api" }] }, address), "https://host/api");
  assert.equal(baseOf({ servers: [{ url: "https://elsewhere/" }] }, address), "https://host/some/api");
});

test("what is filled in goes where it belongs, encoded, and what is empty is left out", () => {
  const request = fill({ "path.name": "a/b ?", "query.limit": "5", "query.tag": "x, y&z", "header.If-Match": "" });
  assert.equal(request.url, `${base}/first/a%2Fb%20%3F?limit=5&tag=x&tag=y%26z`);
  assert.deepEqual(request.headers, []);
  assert.ok(request.isStream);
});

test("a part of the path that is empty stays visible and is missing", () => {
  assert.equal(fill({}).url, `${base}/first/{name}`);
  assert.deepEqual(
    missingIn(read, {}).map((each) => each.name),
    ["name"],
  );
  assert.deepEqual(missingIn(read, { "path.name": "x" }), []);
});

test("JSON is announced, and the type of a form is left to the browser", () => {
  const headers = (content) => fill({}, content).headers;
  assert.deepEqual(headers({ type: "application/json", text: "{}" }), [["Content-Type", "application/json"]]);
  assert.deepEqual(headers({ type: "multipart/form-data", fields: [] }), []);
});

/** What a shell makes of a command, one word a line, with a printer in place of curl. */
function words(command) {
  const script = `curl() { printf '%s\\n' "$@"; }; ${command}`;
  const environment = { ...process.env, PLATFORM_API_KEY: "the-key" };
  return execFileSync("sh", ["-c", script], { env: environment, encoding: "utf-8" }).split("\n").slice(0, -1);
}

test("the command for a shell says the same, with the key from the environment", {
  skip: process.platform === "win32",
}, () => {
  const text = `{"prompt": "it's $HOME \`id\` @x"}`;
  const command = curlOf(fill({ "path.name": "n" }, { type: "application/json", text }));
  assert.deepEqual(words(command), [
    "-N",
    `${base}/first/n`,
    ...["-H", "Authorization: Bearer the-key"],
    ...["-H", "Content-Type: application/json"],
    ...["--data-raw", text],
  ]);
  assert.ok(!command.includes("the-key"));
});

test("a form is sent part by part, files by their names", { skip: process.platform === "win32" }, () => {
  const fields = [
    ["folder", "@home"],
    ["file", { name: 'it\'s "me".png' }],
  ];
  const command = curlOf(
    requestOf(operations["post-second"], { base, values: {}, content: { type: "multipart/form-data", fields } }),
  );
  const form = ["--form-string", "folder=@home", "-F", 'file=@"it\'s \\"me\\".png"'];
  assert.deepEqual(words(command), ["-X", "POST", `${base}/second`, ...form]);
});
