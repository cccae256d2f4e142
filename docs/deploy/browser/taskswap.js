// An export of `taskswap export --format onnx` in a browser: entities and classes, by one adapter or by several that
// share a base. Texts become words and tokens, and logits become answers, by the toolkit's own rules; what this file
// cannot do as the toolkit does it is refused.

import { Tokenizer } from "@huggingface/tokenizers";
import * as ort from "onnxruntime-web/wasm";

const OUTSIDE = "O";
const FORBIDDEN = -1e9;
const SHOWN = 5;
const UNSPACED = "\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}";
const WORD = new RegExp(
  `[${UNSPACED}][\\p{M}ー]*|[[\\p{L}\\p{N}]--[${UNSPACED}]][[\\p{L}\\p{M}\\p{N}]--[${UNSPACED}]]*|\\p{RI}{1,2}[\\p{M}\\u200D]*`,
  "vy",
);
const INVISIBLE = /[\s\p{Cf}\p{Cc}\p{Zl}\p{Zp}\p{Zs}]/u;
const GRAPHEMES = new Intl.Segmenter("und", { granularity: "grapheme" });

/** The words of a text, as [start, end] in UTF-16 units: runs of letters, characters of scripts without blanks, others. */
export function splitWords(text) {
  const words = [];
  const graphemes = GRAPHEMES.segment(text);
  for (let at = 0; at < text.length; ) {
    WORD.lastIndex = at;
    const found = WORD.exec(text);
    const character = String.fromCodePoint(text.codePointAt(at));
    if (found) {
      words.push([at, at + found[0].length]);
      at += found[0].length;
    } else if (INVISIBLE.test(character)) {
      at += character.length;
    } else {
      const { index, segment } = graphemes.containing(at);
      words.push([at, index + segment.length]);
      at = index + segment.length;
    }
  }
  return words;
}

/** WordPiece with the place of each token, which the library does not give. */
export class WordPiece {
  constructor(file) {
    const { model, normalizer, pre_tokenizer: splitter, post_processor: template } = file;
    if (model.type !== "WordPiece" || normalizer?.type !== "BertNormalizer" || splitter?.type !== "BertPreTokenizer") {
      throw new Error(
        `This page reads BERT's tokenizers (WordPiece); the export's is ${model.type}. Use the runtime for Python.`,
      );
    }
    this.tokenizer = new Tokenizer({ ...file, added_tokens: [] }, {}); // what spells a special token is text
    [this.before, this.after] = around(template);
    this.prefix = model.continuing_subword_prefix;
    this.unknown = model.unk_token;
    this.lower = normalizer.lowercase;
    this.strip = normalizer.strip_accents ?? normalizer.lowercase;
  }

  /** Tokens of a text without special ones: [{id, start, end}], in UTF-16 units. */
  encode(text) {
    const tokens = [];
    for (const pretoken of this.#pretokens(text)) {
      const written = pretoken.map((each) => each.normal).join("");
      const { ids, tokens: names } = this.tokenizer.encode(written, { add_special_tokens: false });
      if (names.length === 1 && names[0] === this.unknown) {
        tokens.push({ id: ids[0], start: pretoken[0].start, end: pretoken.at(-1).end });
        continue;
      }
      const origins = pretoken.flatMap((each) => Array.from(each.normal, () => each));
      let at = 0;
      names.forEach((name, number) => {
        const bare = number ? name.slice(this.prefix.length) : name;
        const size = Array.from(bare).length;
        if (origins.slice(at, at + size).length < size) throw new Error(`The tokens of ${written} have no place in it.`);
        tokens.push({ id: ids[number], start: origins[at].start, end: origins[at + size - 1].end });
        at += size;
      });
      if (at !== origins.length) throw new Error(`The tokens of ${written} have no place in it.`);
    }
    return tokens;
  }

  /** What BERT never joins into one token: characters with their places, normalized. */
  #pretokens(text) {
    const pretokens = [];
    let run = [];
    const end = () => {
      if (run.length) pretokens.push(run);
      run = [];
    };
    let start = 0;
    for (const character of text) {
      const stop = start + character.length;
      const place = { start, end: stop, normal: this.#normal(character) };
      start = stop;
      if (/[\t\n\r\p{White_Space}]/u.test(character)) end();
      else if (!place.normal) continue;
      else if (alone(place.normal)) {
        end();
        pretokens.push([place]);
      } else run.push(place);
    }
    end();
    return pretokens;
  }

  #normal(character) {
    if (/[\0\uFFFD\p{C}]/u.test(character)) return "";
    let normal = character;
    if (this.strip) normal = normal.normalize("NFD").replace(/\p{Mn}/gu, "");
    return this.lower ? Array.from(normal, (each) => each.toLowerCase()).join("") : normal;
  }
}

/** The special tokens before and after a text. */
function around({ type, single, special_tokens: special, cls, sep }) {
  if (type === "BertProcessing") return [[cls[1]], [sep[1]]];
  const at = single.findIndex((each) => each.Sequence);
  const ids = (some) => some.flatMap((each) => special[each.SpecialToken.id].ids);
  return [ids(single.slice(0, at)), ids(single.slice(at + 1))];
}

/** Whether a character is a token by itself: punctuation, and what BERT takes for Chinese. */
function alone(character) {
  if (/[!-/:-@[-`{-~\p{P}]/u.test(character)) return true;
  const code = character.codePointAt(0);
  const ranges = [
    [0x4e00, 0x9fff], [0x3400, 0x4dbf], [0x20000, 0x2a6df], [0x2a700, 0x2b73f],
    [0x2b740, 0x2b81f], [0x2b920, 0x2ceaf], [0xf900, 0xfaff], [0x2f800, 0x2fa1f],
  ];
  return ranges.some(([first, last]) => first <= code && code <= last);
}

/** An export, opened: `names` of its adapters, and `answer(name, text)`. */
export class Export {
  /**
   * Fetch an export.
   * @param {string} url of its folder
   * @param {(file: string, bytes: number, of: number) => void} progress
   */
  static async open(url, progress = () => {}) {
    const folder = url.endsWith("/") ? url : `${url}/`;
    const card = await json(`${folder}card.json`);
    if (card.export?.format !== "onnx") throw new Error(`${folder} is no export to ONNX (taskswap export --format onnx).`);
    const model = await bytes(`${folder}model.onnx`, (at, of) => progress("model.onnx", at, of));
    await check(model, card.files["model.onnx"], "model.onnx");
    const tokenizer = new WordPiece(await json(`${folder}tokenizer.json`));
    const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"], logSeverityLevel: 3 });
    return new Export(folder, card, tokenizer, session);
  }

  constructor(folder, card, tokenizer, session) {
    Object.assign(this, { folder, card, tokenizer, session, files: {}, tensors: {} });
    this.adapters = card.adapters ?? { [card.task.name]: card };
    this.names = Object.keys(this.adapters);
    for (const [name, { task }] of Object.entries(this.adapters)) {
      const why = refused(task, card.export);
      if (why) throw new Error(`${name}: ${why} The runtime for Python answers it.`);
    }
  }

  /** The answer of an adapter to a text: {entities, tokens, tags}, or {label or labels, scores}. */
  async answer(name, text) {
    const own = this.adapters[name];
    if (!own) throw new Error(`No adapter is called ${name}; there are ${this.names.join(", ")}.`);
    if (!text.trim()) throw new Error("The text is empty.");
    const { before, after } = this.tokenizer;
    const most = own.budget - before.length - after.length;
    let tokens = this.tokenizer.encode(text);
    const truncated = tokens.length > most;
    if (truncated && (own.task.name === "ner" || own.task.windows)) {
      throw new Error(`The text has ${tokens.length} tokens; this page reads up to ${most}. Give a shorter one.`);
    }
    tokens = tokens.slice(0, most);
    const ids = [...before, ...tokens.map((token) => token.id), ...after];
    const logits = await this.#run(name, own, ids);
    if (own.task.name === "ner") {
      const { words, tags, shares } = tagged(text, tokens, logits.slice(before.length), own.task.labels);
      return entities(text, words, tags, shares);
    }
    return { ...(truncated ? { truncated } : {}), ...classes(logits[0], own.task) };
  }

  /** The tensors of a file; of each file once. */
  async #read(name) {
    if (!this.files[name]) {
      const file = await bytes(this.folder + name);
      await check(file, this.card.files[name], name);
      this.files[name] = safetensors(file);
    }
    return this.files[name];
  }

  async #run(name, own, ids) {
    if (own.file) {
      this.tensors[name] ??= { ...(await this.#read("heads.safetensors")), ...(await this.#read(own.file)) };
    }
    const whole = (value) => new ort.Tensor("int64", BigInt64Array.from(ids, (id) => BigInt(value(id))), [1, ids.length]);
    const rows = { input_ids: whole((id) => id), attention_mask: whole(() => 1), token_type_ids: whole(() => 0) };
    const given = { ...rows, ...this.tensors[name] };
    const feeds = Object.fromEntries(this.session.inputNames.map((input) => [input, given[input]]));
    const output = own.output ?? this.session.outputNames[0];
    const { data, dims } = (await this.session.run(feeds, [output]))[output];
    const size = dims.at(-1);
    return Array.from({ length: data.length / size }, (_, row) => Array.from(data.slice(row * size, (row + 1) * size)));
  }
}

/** Why a task cannot be answered here as the toolkit answers it; nothing if it can. */
function refused(task, record) {
  if (task.name !== "ner" && task.name !== "classification") return `this page has no ${task.name}.`;
  if (task.pair) return "this page reads single texts, not pairs.";
  if (record.labelled !== "first") return "this page reads encoders, not causal models.";
  if (task.name !== "ner") return "";
  if (task.by_character || task.single_characters) return "this page tags words, not characters.";
  const inner = task.labels.filter((label) => label !== OUTSIDE);
  const iob2 = inner.every((label) => /^[BI]-./.test(label) && task.labels.includes(`B-${label.slice(2)}`));
  return iob2 ? "" : "this page reads tags of the scheme IOB2.";
}

/** A tag for each word, with its probability: the likeliest sequence that IOB2 allows. */
function tagged(text, tokens, logits, labels) {
  const words = splitWords(text);
  const owner = words.map(() => null); // the number of each word's first token; undefined: inside one of a word before
  let word = 0;
  tokens.forEach((token, number) => {
    while (word < words.length && words[word][1] <= token.start) word += 1;
    if (word === words.length || words[word][0] >= token.end) return; // a token of no word
    if (owner[word] === null) owner[word] = number;
    for (let next = word + 1; next < words.length && words[next][0] < token.end; next += 1) {
      if (owner[next] === null) owner[next] = undefined;
    }
  });
  const own = owner.filter((number) => typeof number === "number");
  const found = viterbi(own.map((number) => logSoftmax(logits[number])), labels);
  let at = 0;
  let [tag, share] = [OUTSIDE, 1];
  const tags = [];
  const shares = [];
  for (const number of owner) {
    if (number === null) {
      tags.push("");
      shares.push(1);
      continue;
    }
    if (number === undefined) tag = tag.replace(/^B-/, "I-");
    else [tag, share] = [found.tags[at], found.shares[at++]];
    tags.push(tag);
    shares.push(share);
  }
  for (let number = tags.length - 1; number >= 0; number -= 1) {
    if (!tags[number]) tags[number] = tags[number + 1]?.startsWith("I-") ? tags[number + 1] : OUTSIDE;
  }
  return { words, tags, shares };
}

function viterbi(rows, labels) {
  const cost = (before, label) => {
    if (!label.startsWith("I-")) return 0;
    return before !== OUTSIDE && before.slice(2) === label.slice(2) ? 0 : FORBIDDEN;
  };
  if (!rows.length) return { tags: [], shares: [] };
  let scores = rows[0].map((value, label) => value + cost(OUTSIDE, labels[label]));
  const back = [];
  for (const row of rows.slice(1)) {
    const best = labels.map((label) => largest(labels.map((before, number) => scores[number] + cost(before, label))));
    back.push(best.map((each) => each.at));
    scores = best.map((each, label) => each.value + row[label]);
  }
  const path = [largest(scores).at];
  for (const pointers of back.reverse()) path.unshift(pointers[path[0]]);
  return { tags: path.map((label) => labels[label]), shares: path.map((label, number) => Math.exp(rows[number][label])) };
}

function entities(text, words, tags, shares) {
  const characters = (units) => Array.from(text.slice(0, units)).length; // Python counts code points
  const found = [];
  for (let begin = 0; begin < words.length; begin += 1) {
    if (!tags[begin].startsWith("B-")) continue;
    let end = begin + 1;
    while (end < words.length && tags[end] === `I-${tags[begin].slice(2)}`) end += 1;
    const [start, stop] = [words[begin][0], words[end - 1][1]];
    const score = mean(shares.slice(begin, end));
    found.push({
      label: tags[begin].slice(2), text: text.slice(start, stop), start: characters(start), end: characters(stop),
      words: [begin, end], score: rounded(score), units: [start, stop],
    });
  }
  return { text, entities: found, tokens: words.map(([start, stop]) => text.slice(start, stop)), tags };
}

function classes(logits, task) {
  const shares = task.multi_label ? logits.map((value) => 1 / (1 + Math.exp(-value))) : logSoftmax(logits).map(Math.exp);
  const order = task.labels.map((_, number) => number).sort((one, other) => shares[other] - shares[one] || one - other);
  // An object would put labels that are whole numbers into their own order, so that the page needs the list.
  const likely = order.slice(0, SHOWN).map((number) => [task.labels[number], rounded(shares[number])]);
  const scores = Object.fromEntries(likely);
  if (task.multi_label) return { labels: task.labels.filter((_, number) => shares[number] > 0.5), scores, likely };
  return { label: task.labels[order[0]], score: rounded(shares[order[0]]), scores, likely };
}

/** The tensors of a safetensors file by name: a JSON header, then the values. */
function safetensors(file) {
  const size = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + size)));
  delete header.__metadata__;
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(header)) {
    const values = file.slice(8 + size + begin, 8 + size + end).buffer;
    if (dtype === "F32") tensors[name] = new ort.Tensor("float32", new Float32Array(values), shape);
    else if (dtype === "I64") tensors[name] = new ort.Tensor("int64", new BigInt64Array(values), shape);
    else throw new Error(`${name} is of the type ${dtype}, which exports do not use.`);
  }
  return tensors;
}

async function fetched(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}. Is the export's folder there?`);
  return response;
}

const json = async (url) => (await fetched(url)).json();

async function bytes(url, progress = () => {}) {
  const response = await fetched(url);
  const of = Number(response.headers.get("Content-Length")) || 0;
  const parts = [];
  let size = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    progress(size, of);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Refuse a file whose digest is not the card's. Browsers have digests on https and localhost alone. */
async function check(file, wanted, name) {
  if (!globalThis.crypto?.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", file));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== wanted) throw new Error(`${name} is damaged: its digest is not the one in card.json. Export it again.`);
}

function largest(values) {
  let at = 0;
  values.forEach((value, number) => { if (value > values[at]) at = number; });
  return { at, value: values[at] };
}

function logSoftmax(values) {
  const most = Math.max(...values);
  const sum = Math.log(values.reduce((total, value) => total + Math.exp(value - most), 0));
  return values.map((value) => value - most - sum);
}

const mean = (values) => values.reduce((total, value) => total + value, 0) / values.length;
const rounded = (value) => Math.round(value * 1e4) / 1e4;
