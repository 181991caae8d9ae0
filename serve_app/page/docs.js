// The interface from openapi.json: every route with its fields and its refusals.

function element(tag, text, ...children) {
  const made = document.createElement(tag);
  made.textContent = text;
  made.append(...children);
  return made;
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

function fields(part, asked) {
  const rows = Object.entries(part?.properties ?? {}).flatMap(([name, field]) => [
    element("dt", "", element("code", name)),
    element("dd", [type(field), asked && part.required?.includes(name) && "required", field.description].filter(Boolean).join(", ")),
  ]);
  return rows.length ? [element("dl", "", ...rows)] : [];
}

function route(path, method, said) {
  const asked = schema(Object.values(said.requestBody?.content ?? {})[0]?.schema);
  const answered = schema(said.responses["200"]?.content?.["application/json"]?.schema);
  const refusals = Object.entries(said.responses).filter(([status]) => status !== "200");
  return element("article", "",
    element("h3", "", element("b", method.toUpperCase()), element("code", path)),
    element("div", said.summary),
    ...(asked ? [element("h2", Object.keys(said.requestBody.content)[0]), ...fields(asked, true)] : []),
    ...(answered?.properties ? [element("h2", "Answer"), ...fields(answered)] : []),
    ...(refusals.length ? [element("h2", "Refusals"), element("dl", "", ...refusals.flatMap(([status, why]) => [
      element("dt", "", element("code", status)), element("dd", why.description)]))] : []));
}

document.getElementById("example").textContent =
  `curl ${base}v1/simulate/upload \\\n  -F username=nasa -F posted_at=2021-07-20T15:00Z -F files=@video.mp4`;
document.getElementById("routes").append(...Object.entries(spec.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, said]) => route(path, method, said))));
