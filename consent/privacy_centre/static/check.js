// Checks one receipt file against the log's public key: in this browser, with no network.
//
// The same steps as `consent/taken.py`, after C2SP tlog-proof, signed-note and tlog-checkpoint and
// RFC 9162. Each step throws `Fails` with its name, and the page marks that line. Hashes and
// signatures are the browser's own (WebCrypto); where it has no Ed25519 nothing is decided.
"use strict";

const STEPS = ["file", "key", "signature", "origin", "place", "entry", "receipt", "token"];
const KINDS = ["grant-recorded", "withdrawal-recorded", "consent-moved"];
const PARTS = ["record", "receipt", "log_index", "leaf", "proof"];
const MOST_BYTES = 256 * 1024;
const ED25519 = 1;
class Fails extends Error {}
class CannotCheck extends Error {}

const utf8 = new TextEncoder();
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const same = (one, other) => hex(one) === hex(other);
const need = (holds, step) => { if (!holds) throw new Fails(step); };
const sha256 = async (...parts) =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer()));

/** Bytes of base64 that is written in the one way that there is. */
function decoded(text, step) {
  let binary = "";
  try { binary = atob(text); } catch { throw new Fails(step); }
  need(btoa(binary) === text, step);
  return Uint8Array.from(binary, (sign) => sign.charCodeAt(0));
}

/** RFC 8785: names in order of their UTF-16 units, numbers and texts as JSON.stringify has them. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const member = (name) => `${JSON.stringify(name)}:${canonical(value[name])}`;
  return `{${Object.keys(value).sort().map(member).join(",")}}`;
}

/** signed-note: name+keyid+base64(type || key), the id being the start of a hash over both. */
async function openKey(text) {
  const [name, id, ...rest] = text.trim().split("+");
  need(name && id && rest.length, "key");
  const typed = decoded(rest.join("+"), "key");
  const hash = await sha256(utf8.encode(`${name}\n`), typed);
  need(typed[0] === ED25519 && typed.length === 33 && hex(hash.slice(0, 4)) === id, "key");
  try {
    const own = { name: "Ed25519" };
    return { name, id, key: await crypto.subtle.importKey("raw", typed.slice(1), own, false, ["verify"]) };
  } catch {
    throw new CannotCheck();
  }
}

/** tlog-proof: index and path, an empty line, and the checkpoint as the log signed it. */
function openProof(text) {
  const cut = text.indexOf("\n\n");
  const [header, at, ...path] = text.slice(0, cut).split("\n");
  const index = /^index (0|[1-9][0-9]{0,18})$/.exec(at);
  need(cut > 0 && header === "c2sp.org/tlog-proof@v1" && index && path.length <= 63, "file");
  const hashes = path.map((line) => decoded(line, "file"));
  need(hashes.every((hash) => hash.length === 32), "file");
  return { index: BigInt(index[1]), path: hashes, note: text.slice(cut + 2) };
}

/** tlog-checkpoint: origin, size and root on three lines, then the signature lines. */
function openNote(note) {
  const cut = note.lastIndexOf("\n\n");
  need(cut > 0 && note.endsWith("\n"), "file");
  const text = note.slice(0, cut + 1);
  const [origin, size, root, ...rest] = text.split("\n");
  need(/^(0|[1-9][0-9]{0,18})$/.test(size) && rest.length === 1 && rest[0] === "", "file");
  const signatures = note.slice(cut + 2, -1).split("\n").map((line) => {
    const [, name, blob] = /^\u2014 (\S+) (\S+)$/.exec(line) ?? [];
    need(name, "file");
    return { name, bytes: decoded(blob, "file") };
  });
  return { text, origin, size: BigInt(size), root: decoded(root, "file"), signatures };
}

/** Every key that signs at this size has signed these bytes; other signatures are ignored. */
async function checkSignature(note, keys) {
  const signers = keys.filter((k) => note.size >= k.first && (k.last === null || note.size <= k.last));
  need(signers.length, "signature");
  for (const signer of signers) {
    const lines = note.signatures.filter(
      (line) => line.name === signer.name && hex(line.bytes.slice(0, 4)) === signer.id);
    need(lines.length, "signature");
    for (const line of lines) {
      const good = await crypto.subtle.verify(
        "Ed25519", signer.key, line.bytes.slice(4), utf8.encode(note.text));
      need(good, "signature");
    }
  }
}

/** RFC 9162, 2.1.3.2: the path leads from the leaf's hash to the root. */
async function checkPlace(leaf, index, path, note) {
  need(index < note.size, "place");
  let [fn, sn] = [index, note.size - 1n];
  let hash = await sha256(Uint8Array.of(0), leaf);
  for (const part of path) {
    need(sn !== 0n, "place");
    if (fn & 1n || fn === sn) {
      hash = await sha256(Uint8Array.of(1), part, hash);
      while (!(fn & 1n) && fn !== 0n) { fn >>= 1n; sn >>= 1n; }
    } else {
      hash = await sha256(Uint8Array.of(1), hash, part);
    }
    fn >>= 1n; sn >>= 1n;
  }
  need(sn === 0n && same(hash, note.root), "place");
}

/** Check a file's bytes and return its receipt; `keys` are {vkey, first, last} in sizes, `origin` the log's or null. */
async function checkReceipt(bytes, keys, origin, passed) {
  let taken, proof, note, entry;
  need(bytes.length <= MOST_BYTES, "file");
  try { taken = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)); } catch { throw new Fails("file"); }
  need(taken !== null && PARTS.every((name) => name in taken), "file");
  need(Object.keys(taken).every((name) => [...PARTS, "manage_token"].includes(name)), "file");
  need([taken.record, taken.leaf, taken.proof].every((part) => typeof part === "string"), "file");
  const leaf = decoded(taken.leaf, "file");
  proof = openProof(taken.proof);
  note = openNote(proof.note);
  passed("file");
  const opened = [];
  for (const key of keys) opened.push({ ...key, ...(await openKey(key.vkey)) });
  passed("key");
  await checkSignature(note, opened);
  passed("signature");
  need(origin === null || note.origin === origin, "origin");
  passed("origin");
  await checkPlace(leaf, proof.index, proof.path, note);
  passed("place");
  try { entry = JSON.parse(new TextDecoder().decode(leaf)); } catch { throw new Fails("entry"); }
  const receipt = taken.receipt;
  const date = Date.parse(receipt?.["undertone:event"]?.["dct:date"]) / 1000;
  need(KINDS.includes(entry.kind) && entry.v === 1 && entry.fields.record === taken.record, "entry");
  need(taken.log_index === Number(proof.index) && Math.floor(entry.at) === date, "entry");
  need(receipt["dct:isPartOf"]?.["dct:identifier"] === taken.record, "entry");
  passed("entry");
  need(entry.fields.receipt === hex(await sha256(utf8.encode(canonical(receipt)))), "receipt");
  passed("receipt");
  if ("manage_token" in taken) {
    const hash = hex(await sha256(utf8.encode(taken.manage_token)));
    need(hash === receipt["undertone:manageTokenDigest"], "token");
  }
  passed("token");
  return receipt;
}

// --- the page -----------------------------------------------------------------------------------

const { words, keys, origin } = JSON.parse(document.getElementById("known").textContent);
const [file, key, said, steps] = ["file", "key", "said", "steps"].map((id) => document.getElementById(id));

function known() {
  const text = key.value.trim();
  const own = keys.some((one) => one.vkey === text);
  const all = own ? keys : [{ vkey: text, first: 0, last: null }];
  return [all.map((one) => ({ ...one, first: BigInt(one.first), last: one.last === null ? null : BigInt(one.last) })),
    own ? origin : null];
}

function mark(step, how) {
  const line = document.createElement("li");
  line.className = how;
  line.textContent = words[`step_${step}`];
  steps.append(line);
}

async function check() {
  if (!file.files.length) return;
  steps.replaceChildren();
  said.className = "lead";
  said.textContent = words.check_reading;
  const done = [];
  const passed = (step) => { done.push(step); mark(step, "good"); };
  try {
    if (!globalThis.crypto?.subtle) throw new CannotCheck();
    const receipt = await checkReceipt(new Uint8Array(await file.files[0].arrayBuffer()), ...known(), passed);
    const uninformed = receipt["dpv:hasNotice"]?.["undertone:shownFirst"] === false;
    const more = uninformed ? ` ${words.check_uninformed}` : "";
    said.className = "said";
    said.textContent = `${words.check_holds} ${words.check_meaning}${more}`;
  } catch (error) {
    if (error instanceof CannotCheck) { said.textContent = words.check_cannot; return; }
    mark(error instanceof Fails ? error.message : STEPS[done.length], "bad");
    said.className = "wrong lead";
    said.textContent = words.check_fails;
  }
}

document.getElementById("no-script").hidden = true;
file.addEventListener("change", check);
key.addEventListener("change", check);
