// Text from other people is only ever set by textContent, never as markup.

const $ = (id) => document.getElementById(id);
const form = $("form"), drop = $("drop"), picker = $("files"), previews = $("previews");
const count = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
let chosen = []; // [{ file, url, view }]

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// ---- choosing files

function choose(files) {
  for (const file of files) {
    const url = URL.createObjectURL(file);
    const moving = file.type.startsWith("video/");
    const view = element(moving ? "video" : "img", { src: url, title: file.name });
    if (moving) Object.assign(view, { muted: true, playsInline: true, preload: "metadata" });
    chosen.push({ file, url, view });
  }
  show();
}

function show() {
  previews.replaceChildren(...chosen.map((item) => {
    const remove = element("button", { type: "button", textContent: "×", ariaLabel: `Remove ${item.file.name}` });
    remove.addEventListener("click", (event) => {
      event.preventDefault(); // or the label opens the file dialog
      chosen = chosen.filter((other) => other !== item);
      URL.revokeObjectURL(item.url);
      show();
    });
    return element("li", {}, item.view, remove);
  }));
}

picker.addEventListener("change", () => { choose(picker.files); picker.value = ""; });
for (const type of ["dragenter", "dragover"])
  document.addEventListener(type, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const type of ["dragleave", "drop"])
  document.addEventListener(type, (event) => {
    event.preventDefault();
    if (type === "drop" || !event.relatedTarget) drop.classList.remove("over");
  });
document.addEventListener("drop", (event) => choose(event.dataTransfer.files));
document.addEventListener("paste", (event) => choose(event.clipboardData.files));

// ---- asking

form.addEventListener("submit", (event) => { event.preventDefault(); ask($("send")); });
$("ask-why").addEventListener("click", () => ask($("ask-why"), { why: true }));

async function ask(button, more = {}) {
  if (!form.reportValidity()) return;
  const label = button.textContent;
  button.disabled = true;
  button.textContent = "Predicting …";
  try {
    const response = await fetch("v1/simulate/upload", { method: "POST", body: body(more), headers: headers() });
    const reply = await response.json().catch(() => ({ detail: `HTTP ${response.status}` }));
    if (response.ok) answer(reply);
    else refuse(reply.detail, response.status);
  } catch {
    refuse("The service cannot be reached.");
  }
  button.disabled = false;
  button.textContent = label;
}

function body(more) {
  const data = new FormData();
  for (const [name, value] of Object.entries(more)) data.append(name, value);
  for (const name of ["username", "company", "caption", "likes"]) {
    const value = form.elements[name].value.trim();
    if (value) data.append(name, value);
  }
  data.append("posted_at", new Date(form.elements.posted_at.value).toISOString());
  for (const { file } of chosen) data.append("files", file);
  return data;
}

function headers() {
  const key = form.elements.key.value || sessionStorage.getItem("key");
  return key ? { Authorization: `Bearer ${key}` } : {};
}

function refuse(detail, status) {
  if (status === 401) {
    sessionStorage.removeItem("key");
    $("key").hidden = false;
    form.elements.key.focus();
  }
  $("refusal").textContent = status === 401 ? "This service needs an API key." : detail;
  present("refusal", "result");
}

// ---- showing the answer

function answer(reply) {
  if (form.elements.key.value) sessionStorage.setItem("key", form.elements.key.value);
  $("likes").textContent = reply.likes === null ? "–" : count.format(reply.likes);
  const range = reply.likes_low !== null;
  for (const part of document.querySelectorAll(".range, .ends")) part.hidden = !range;
  $("low").textContent = count.format(reply.likes_low);
  $("high").textContent = count.format(reply.likes_high);
  $("dot").style.left = `${(100 * (reply.likes - reply.likes_low)) / (reply.likes_high - reply.likes_low || 1)}%`;
  $("caption").textContent = reply.caption || "(empty)";
  const files = [...new Set(reply.frames.map((frame) => frame.media_id))];
  const wrong = reply.media_errors.map((item) => element("li", { textContent: `${item.name}: ${item.error.replace(/^\w+: /, "")}` }));
  const without = reply.frames.length ? [] : [element("li", { textContent: "No media could be read: the prediction is based on the account, the time and the text." })];
  const cold = reply.cold_account ? [element("li", { textContent: "This account is new to the model: the predicted likes are much less certain." })] : [];
  const reasons = reply.why ?? [];
  $("media").replaceChildren(...files.map((id) => film(
    reply.frames.filter((frame) => frame.media_id === id),
    reasons.filter((reason) => reason.media_id === id))));
  $("ask-why").hidden = reply.why !== null || reply.likes === null;
  $("why-lead").hidden = reply.why === null;
  $("why").replaceChildren(...reasons.filter(({ part }) => part !== "frame")
    .sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect)).map(reason));
  $("notes").replaceChildren(...cold, ...without, ...wrong);
  present("result", "refusal");
}

const PARTS = { media: "all media", username: "the account", posted_at: "the time" };

function reason({ part, effect }) {
  const bar = element("i", { className: effect < 0 ? "less" : "more" });
  bar.style.width = `${Math.min(100, 60 * Math.abs(effect))}%`;
  return element("li", {}, element("span", { textContent: PARTS[part] ?? `the ${part}` }), bar,
    element("b", { textContent: change(effect) }));
}

// An effect on log(1 + likes) as a change of the likes in percent.
function change(effect) {
  const share = Math.round(100 * Math.expm1(effect));
  return `${share < 0 ? "−" : "+"}${Math.abs(share)}%`;
}

function film(frames, reasons) {
  frames.sort((a, b) => a.time_s - b.time_s);
  const scores = frames.map((frame) => frame.score), worst = Math.min(...scores), best = Math.max(...scores);
  const cells = frames.map((frame) => element("li", { title: `similarity ${frame.score.toFixed(3)}` },
    element("img", { src: frame.image, alt: `frame at ${clock(frame.time_s)}` }),
    element("small", { textContent: frames.length > 1 ? clock(frame.time_s) : "" }),
    ...reasons.filter(({ part, time_s }) => part === "frame" && time_s === frame.time_s)
      .map(({ effect }) => element("small", { className: "effect", title: "effect of this frame on the predicted likes", textContent: change(effect) }))));
  const strip = element("ul", { className: frames.length > 1 ? "strip" : "strip single" }, ...cells);
  if (frames.length === 1) return element("figure", {}, strip);

  const end = length(frames);
  const marks = frames.map((frame) => {
    const mark = element("i", { title: clock(frame.time_s) });
    mark.style.left = `${(100 * frame.time_s) / end}%`;
    mark.style.height = `${30 + (70 * (frame.score - worst)) / (best - worst || 1)}%`;
    return mark;
  });
  const line = element("div", { className: "line", ariaHidden: "true" }, ...marks,
    element("span", { textContent: clock(0) }), element("span", { textContent: clock(end) }));
  cells.forEach((cell, i) => {
    for (const part of [cell, marks[i]]) {
      part.addEventListener("pointerenter", () => { cell.classList.add("on"); marks[i].classList.add("on"); });
      part.addEventListener("pointerleave", () => { cell.classList.remove("on"); marks[i].classList.remove("on"); });
    }
  });
  const caption = element("figcaption", { textContent: `${frames.length} frames; the higher the mark, the more similar to the post` });
  return element("figure", {}, caption, line, strip);
}

// The length of the file in seconds: from the browser if it can play the video, else the time of the last frame.
function length(frames) {
  const last = frames.at(-1).time_s;
  const lengths = chosen.map(({ view }) => view.duration).filter((s) => Number.isFinite(s) && s >= last);
  return chosen.length === 1 && lengths.length ? lengths[0] : last || 1;
}

function clock(seconds) {
  const minutes = Math.floor(seconds / 60), rest = (seconds % 60).toFixed(1);
  return minutes ? `${minutes}:${rest.padStart(4, "0")}` : `${rest} s`;
}

function present(shown, hidden) {
  $(shown).hidden = false;
  $(hidden).hidden = true;
  $("answer").hidden = false;
  if (innerWidth < 900) $("answer").scrollIntoView({ block: "start" });
}

const now = new Date();
form.elements.posted_at.value = new Date(now - now.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
