// Documents the API from openapi.json: every route with its fields and errors.

function element(tag, text, ...children) {
  const node = document.createElement(tag);
  node.textContent = text;
  node.append(...children);
  return node;
}

const base = new URL(".", location.href).href;
const spec = await (await fetch("openapi.json")).json();
const schema = (part) => (part?.$ref ? spec.components.schemas[part.$ref.split("/").pop()] : part);

function type(part) {
  if (part.$ref) return `{${Object.keys(schema(part).properties).join(", ")}}`;
  if (part.anyOf) return part.anyOf.map(type).filter((name) => name !== "null").join(" | ");
  if (part.enum) return part.enum.join(" | ");
  if (part.contentMediaType || part.format === "binary") return "file";
  return part.type === "array" ? `[${type(part.items)}]` : part.format ?? part.type ?? "any";
}

function fields(part, isRequest) {
  const rows = Object.entries(part?.properties ?? {}).flatMap(([name, field]) => [
    element("dt", "", element("code", name)),
    element("dd", [type(field), isRequest && part.required?.includes(name) && "required", field.description].filter(Boolean).join(", ")),
  ]);
  return rows.length ? [element("dl", "", ...rows)] : [];
}

function route(path, method, operation) {
  const request = schema(Object.values(operation.requestBody?.content ?? {})[0]?.schema);
  const response = schema(operation.responses["200"]?.content?.["application/json"]?.schema);
  const errors = Object.entries(operation.responses).filter(([status]) => status !== "200");
  return element("article", "",
    element("h3", "", element("b", method.toUpperCase()), element("code", path)),
    element("div", operation.summary),
    ...(request ? [element("h2", Object.keys(operation.requestBody.content)[0]), ...fields(request, true)] : []),
    ...(response?.properties ? [element("h2", "Response"), ...fields(response)] : []),
    ...(errors.length ? [element("h2", "Errors"), element("dl", "", ...errors.flatMap(([status, error]) => [
      element("dt", "", element("code", status)), element("dd", error.description)]))] : []));
}

document.getElementById("example").textContent =
  `curl ${base}v1/simulate/upload \\\n  -F username=nasa -F posted_at=2021-07-20T15:00Z -F files=@video.mp4`;
document.getElementById("routes").append(...Object.entries(spec.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => route(path, method, operation))));
