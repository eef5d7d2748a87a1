// Calls of a deployment, ready to be copied. The key is nowhere in them.

const FILE = "https://example.com/photo.png";

/** The inputs of a call: what is taken when nothing is said, and an address in place of a file. @param {Field[]} fields */
export function sampleOf(fields) {
  const sampleFor = (/** @type {Field} */ { kind, widget }) => {
    if (widget) return widget.default ?? widget.options?.[0] ?? (widget.type === "boolean" ? false : "");
    return kind === "image batch" ? [FILE] : FILE;
  };
  return Object.fromEntries(fields.filter((each) => !each.is_open).map((each) => [each.input_id, sampleFor(each)]));
}

/** @param {Pick<Shape, "id" | "inputs">} form @param {string} baseUrl of the platform @returns {[name: string, text: string][]} */
export function callsOf({ id, inputs }, baseUrl) {
  const base = baseUrl.replace(/\/+$/, "");
  const url = base.endsWith("/api") ? base : `${base}/api`;
  const sample = sampleOf(inputs);
  const body = JSON.stringify({ deployment_id: id, inputs: sample }, null, 2);
  const [queue, look] = [`${url}/run/deployment/queue`, `${url}/run/`];
  return [
    ["curl", inShell(`${url}/run/deployment/sync`, body)],
    ["Python", inPython(queue, look, python({ deployment_id: id, inputs: sample }))],
    ["Python client", withClient(baseUrl, id, python(sample, "        "))],
    ["JavaScript", inJavaScript(queue, look, body)],
  ];
}

/** @param {string} text as one word of a shell */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** @param {string} url @param {string} body */
function inShell(url, body) {
  return `# It waits for the outputs; run/deployment/queue answers at once with the id of the run.
curl ${quoted(url)} \\
  -H "Authorization: Bearer $PLATFORM_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d ${quoted(body)}
`;
}

/** @param {string} queue @param {string} look @param {string} body */
function inPython(queue, look, body) {
  return `import json
import os
import sys
import time

import httpx

body = ${body}
headers = {"Authorization": f"Bearer {os.environ['PLATFORM_API_KEY']}"}
with httpx.Client(headers=headers, timeout=60) as http:
    queued = http.post(${python(queue)}, json=body).raise_for_status().json()
    while True:
        run = http.get(${python(look)} + queued["run_id"]).raise_for_status().json()
        if run["status"] in ("success", "failed", "timeout", "cancelled"):
            break
        time.sleep(2)
if run["status"] != "success":
    sys.exit(f"{run['status']}: {run.get('error')}")
print(json.dumps(run["outputs"], indent=2))
`;
}

/** @param {string} baseUrl @param {string} id @param {string} inputs */
function withClient(baseUrl, id, inputs) {
  return `import asyncio
import os

from comfyui_outpost.api.client import Client
from comfyui_outpost.api.settings import Connection


async def main():
    async with Client(Connection(${python(baseUrl)}, os.environ["PLATFORM_API_KEY"])) as client:
        deployment = await client.deployments.get(${python(id)})
        inputs = ${inputs}
        run = await client.runs.execute(deployment, inputs)
        for output in run.outputs:
            print(output)


asyncio.run(main())
`;
}

/** @param {string} queue @param {string} look @param {string} body */
function inJavaScript(queue, look, body) {
  // A name that JavaScript would take for the prototype of the inputs is a name like any other when it is computed.
  const literal = body.replaceAll(/^( *)"__proto__":/gm, '$1["__proto__"]:');
  return `const headers = {
  Authorization: \`Bearer \${process.env.PLATFORM_API_KEY}\`,
  "Content-Type": "application/json",
};
const body = ${literal};
const ask = async (url, options) => {
  const answer = await fetch(url, { headers, ...options });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
};
const { run_id } = await ask(${JSON.stringify(queue)}, { method: "POST", body: JSON.stringify(body) });
let run;
do {
  await new Promise((resolve) => setTimeout(resolve, 2000));
  run = await ask(${JSON.stringify(look)} + run_id);
} while (!["success", "failed", "timeout", "cancelled"].includes(run.status));
if (run.status !== "success") throw new Error(\`\${run.status}: \${JSON.stringify(run.error)}\`);
console.log(JSON.stringify(run.outputs, null, 2));
`;
}

/** A value as Python writes it. @param {unknown} value @param {string} indent of the line that it begins in @returns {string} */
export function python(value, indent = "") {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map((each) => python(each, indent)).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const rows = Object.entries(value).map(
    ([name, each]) => `${inner}${JSON.stringify(name)}: ${python(each, inner)},\n`,
  );
  return rows.length ? `{\n${rows.join("")}${indent}}` : "{}";
}
