// The API browser: reads the OpenAPI document of this host and lists what it says. Nothing comes from elsewhere,
// and every text goes into the page as text, never as markup.
"use strict";

const VERBS = ["get", "post", "put", "delete"];
const page = { operations: document.getElementById("operations"), groups: document.getElementById("groups") };
let spec;

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== null));
  return node;
}

function resolve(schema) {
  if (!schema?.$ref) return schema ?? {};
  return schema.$ref.slice(2).split("/").reduce((node, key) => node?.[key], spec) ?? {};
}

function typeOf(schema) {
  const parts = [];
  const words = schema.enum ?? schema.anyOf?.flatMap((one) => one.enum ?? []);
  if (words?.length) parts.push(words.length > 12 ? words.slice(0, 6).join(", ") + ", … (" + words.length + ")" : words.join(", "));
  else if (schema.type) parts.push([schema.type].flat().join(" or "));
  else parts.push("any");
  if (schema.minimum !== undefined) parts.push("from " + schema.minimum);
  if (schema.maximum !== undefined) parts.push("to " + schema.maximum);
  if (schema.minLength) parts.push("at least " + schema.minLength + " characters");
  if (schema.default !== undefined) parts.push("default " + JSON.stringify(schema.default));
  return parts.join(", ");
}

function fieldTable(schema, writing) {
  const object = resolve(schema.type === "array" ? schema.items : schema);
  const required = new Set(object.required ?? []);
  const rows = Object.entries(object.properties ?? {})
    .filter(([, field]) => !(writing ? field.readOnly : field.writeOnly))
    .map(([name, field]) => make("tr", {},
      make("td", {}, make("code", {}, name), required.has(name) && writing ? make("span", { class: "must" }, " required") : null),
      make("td", {}, typeOf(field)),
      make("td", {}, field.description ?? "")));
  return make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, make("th", {}, "Field"), make("th", {}, "Type"), make("th", {}, "Meaning"))),
    make("tbody", {}, ...rows)));
}

function sampleBody(schema) {
  const object = resolve(schema);
  const sample = {};
  for (const name of object.required ?? []) {
    const field = object.properties[name] ?? {};
    sample[name] = field.examples?.[0] ?? field.default ?? "";
  }
  return JSON.stringify(sample, null, 2);
}

function tryIt(path, verb, operation) {
  const inputs = (operation.parameters ?? []).filter((one) => one.in !== "header").map((parameter) => {
    const value = parameter.in === "path" ? parameter.schema?.default ?? "" : "";
    const input = make("input", { name: parameter.name, value, autocomplete: "off", spellcheck: "false" });
    return { parameter, input, label: make("label", {}, make("code", {}, parameter.name), input) };
  });
  const schema = operation.requestBody?.content?.["application/json"]?.schema;
  const body = schema ? make("textarea", { spellcheck: "false", "aria-label": "Body" }, sampleBody(schema)) : null;
  const answer = make("pre", { hidden: true });
  const button = make("button", {}, "Send");
  const send = async (event) => {
    event.preventDefault();
    let url = path;
    const query = new URLSearchParams();
    for (const { parameter, input } of inputs) {
      if (parameter.in === "path") url = url.replace("{" + parameter.name + "}", encodeURIComponent(input.value));
      else if (input.value !== "") query.set(parameter.name, input.value);
    }
    const headers = {};
    const key = document.getElementById("key").value.trim();
    if (key) headers.Authorization = "Bearer " + key;
    if (body) headers["Content-Type"] = "application/json";
    button.disabled = true;
    answer.hidden = false;
    answer.textContent = "…";
    try {
      const response = await fetch(url + (query.size ? "?" + query : ""), { method: verb.toUpperCase(), headers, body: body?.value });
      const text = await response.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it is */ }
      const ignored = response.headers.get("x-ignored-fields");
      answer.textContent = response.status + " " + response.statusText + (ignored ? "\nignored: " + ignored : "") + "\n\n" + shown;
    } catch (error) {
      answer.textContent = String(error);
    }
    button.disabled = false;
  };
  return make("form", { onsubmit: send }, ...inputs.map((one) => one.label), body, button, answer);
}

function inside(path, verb, operation) {
  const parts = [];
  if (operation.description) parts.push(make("p", {}, operation.description));
  const parameters = operation.parameters ?? [];
  if (parameters.length) {
    const properties = Object.fromEntries(parameters.map((one) => [one.name, { ...one.schema, description: one.description + " (" + one.in + ")" }]));
    parts.push(make("h3", {}, "Parameters"), fieldTable({ properties }, true));
  }
  const request = operation.requestBody?.content?.["application/json"]?.schema;
  if (request) parts.push(make("h3", {}, "Body"), fieldTable(request, true));
  for (const [status, response] of Object.entries(operation.responses)) {
    if (!status.startsWith("2")) continue;
    const schema = response.content?.["application/json"]?.schema;
    parts.push(make("h3", {}, "Answer " + status + (schema?.type === "array" ? ", a list" : "")), make("p", { class: "quiet" }, response.description));
    if (schema) parts.push(fieldTable(schema, false));
  }
  const failures = Object.keys(operation.responses).filter((status) => !status.startsWith("2"));
  if (failures.length) parts.push(make("p", { class: "quiet" }, "Failures: " + failures.join(", ")));
  parts.push(make("h3", {}, "Try it"), tryIt(path, verb, operation));
  return parts;
}

function show() {
  page.operations.replaceChildren();
  page.groups.replaceChildren();
  const base = spec.servers[0].url;
  for (const tag of spec.tags) {
    page.operations.append(make("h2", {}, tag.name));
    page.groups.append(make("h2", {}, tag.name));
    for (const [path, item] of Object.entries(spec.paths)) {
      const full = item.servers ? path : base + path;
      for (const verb of VERBS) {
        const operation = item[verb];
        if (!operation?.tags.includes(tag.name)) continue;
        const content = make("div", { class: "inside" });
        const card = make("details", { class: "operation", id: operation.operationId },
          make("summary", {}, make("span", { class: "verb " + verb }, verb.toUpperCase()), make("span", { class: "path" }, full),
            make("span", { class: "quiet" }, operation.summary)), content);
        card.addEventListener("toggle", () => { if (card.open && !content.hasChildNodes()) content.append(...inside(full, verb, operation)); });
        const schema = resolve(operation.requestBody?.content?.["application/json"]?.schema);
        const words = [full, verb, operation.summary, ...Object.keys(schema.properties ?? {})].join(" ").toLowerCase();
        const link = make("a", { href: "#" + operation.operationId }, operation.summary);
        card.dataset.words = words;
        link.dataset.words = words;
        page.operations.append(card);
        page.groups.append(link);
      }
    }
  }
  open();
}

function open() {
  const card = document.getElementById(location.hash.slice(1));
  if (card?.matches("details")) { card.open = true; card.scrollIntoView(); }
}

function filter(event) {
  const wanted = event.target.value.trim().toLowerCase();
  for (const node of document.querySelectorAll("[data-words]")) node.hidden = !node.dataset.words.includes(wanted);
}

addEventListener("hashchange", open);
document.getElementById("find").addEventListener("input", filter);
fetch("/ns-api/v2/openapi.json")
  .then((response) => response.json())
  .then((document) => { spec = document; show(); })
  .catch((error) => page.operations.replaceChildren(make("p", {}, "The OpenAPI document could not be read: " + error)));
