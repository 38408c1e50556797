// Keeps the pairing page true: asks every two seconds how far it is, and shows the code of the moment.
const page = document.getElementById("pairing");
const all = (name) => page.querySelectorAll(`[data-${name}]`);
const one = (name) => page.querySelector(`[data-${name}]`);
let goodUntil = Date.now() + 1000 * Number(one("seconds").textContent || 0);
let shownQr = "";

function show(facts) {
  const before = page.dataset.phase;
  page.dataset.phase = facts.phase;
  for (const part of all("in")) part.hidden = !part.dataset.in.split(" ").includes(facts.phase);
  for (const part of all("state")) part.textContent = facts.state;
  for (const part of all("reason")) part.textContent = facts.reason;
  if (facts.phase === "IDLE" && before !== "IDLE") one("over").hidden = false;
  if (facts.phase === "SHOWN") showCode(facts);
  else forget();
}

function showCode(facts) {
  one("qr").hidden = !facts.qr;
  one("code").hidden = !facts.code;
  one("code").textContent = facts.code;
  if (facts.qr !== shownQr) {
    shownQr = facts.qr;
    const drawn = new DOMParser().parseFromString(facts.qr || "<svg/>", "image/svg+xml");
    one("qr").replaceChildren(document.importNode(drawn.documentElement, true));
  }
  goodUntil = Date.now() + 1000 * facts.seconds;
  count();
}

function forget() {
  shownQr = "";
  one("qr").replaceChildren();
  one("code").textContent = "";
}

function count() {
  one("seconds").textContent = Math.max(0, Math.ceil((goodUntil - Date.now()) / 1000));
}

function trouble(text) {
  one("trouble").textContent = text;
  one("trouble").hidden = !text;
}

async function ask() {
  try {
    const answer = await fetch(page.dataset.url, { cache: "no-store", redirect: "error" });
    if (!answer.ok) throw new Error(answer.status);
    show(await answer.json());
    trouble("");
  } catch {
    trouble("No answer; trying again. If this stays, load the page again: you may have to sign in.");
  }
  // Of a linked phone there is only the first connection to wait for; of nothing asked, nothing.
  if (page.dataset.phase !== "IDLE") setTimeout(ask, 2000);
}

setInterval(count, 1000);
if (page.dataset.phase !== "IDLE") setTimeout(ask, 1000);
