// Runs the vectors of the prelude and of event stream messages against decoders that are written here, from spec/.
//
//     node vectors.mjs DIRECTORY
//
// DIRECTORY is spec/vectors. Prints one JSON object: how many stories were run, and those that say something else than
// these decoders, by name and with what was heard. Rules are named where they decide.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";

const BYTEWISE = 5_000; // larger wires are cut into a few pieces

class Fault extends Error {
  constructor(field, at) {
    super(at === undefined ? field : `${field} at ${at}`);
    Object.assign(this, { field, at });
  }
}

// -- the vectors

const isObject = (value) => value !== null && typeof value === "object";
const unwrap = (key, value) => {
  if (isObject(value) && "hex" in value) {
    const once = Buffer.from(value.hex, "hex");
    return Buffer.alloc(once.length * (value.times ?? 1), once);
  }
  return isObject(value) && "repeat" in value ? value.repeat.repeat(value.times) : value;
};

const stories = (directory, page) =>
  JSON.parse(readFileSync(join(directory, `${page}.json`), "utf8"), unwrap).stories.filter((it) => it.does === "read");

// -- the prelude: FU-PRELUDE

const DELIMITER = Buffer.alloc(8);
const MAX_PRELUDE = 16_384;
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const scalar = (value) => {
  if (isObject(value)) throw new Fault("value");
  return (typeof value === "string" ? value : JSON.stringify(value)).replace(/^[ \t]+|[ \t]+$/g, "");
};
const sendable = (text) => {
  if (/[\x00-\x08\x0a-\x1f\x7f]/.test(text)) throw new Fault("value"); // FU-PRELUDE-27
  return text;
};
const strings = (list) => list.filter((each) => each !== null).map((each) => sendable(scalar(each)));
const headerValue = (value) => {
  if (Array.isArray(value)) return strings(value).join(","); // FU-PRELUDE-29
  if (!isObject(value)) return sendable(scalar(value));
  const members = Object.entries(value).map(([name, member]) => `${name}=${scalar(member)}`);
  return sendable(`{${members.join(", ")}}`); // FU-PRELUDE-28
};
const members = (metadata, name, read) => {
  const held = metadata[name] ?? {};
  if (!isObject(held) || Array.isArray(held)) throw new Fault(name);
  const kept = Object.entries(held).filter(([, value]) => value !== null); // FU-PRELUDE-19
  if (kept.some(([each]) => !TOKEN.test(each))) throw new Fault("name");
  return Object.fromEntries(kept.map(([each, value]) => [each, read(value)]));
};

function readMetadata(bytes) {
  let metadata;
  try {
    metadata = JSON.parse(UTF8.decode(bytes));
  } catch {
    throw new Fault("metadata");
  }
  if (!isObject(metadata) || Array.isArray(metadata)) throw new Fault("metadata");
  let status = metadata.statusCode ?? 200; // FU-PRELUDE-16
  if (typeof status === "string" && /^[0-9]{3}$/.test(status)) status = Number(status); // FU-PRELUDE-22
  if (!Number.isInteger(status) || status < 100 || status > 599) throw new Fault("statusCode");
  const cookies = metadata.cookies ?? [];
  if (!Array.isArray(cookies)) throw new Fault("cookies");
  const read = {
    statusCode: status,
    headers: members(metadata, "headers", headerValue),
    cookies: strings(cookies),
  };
  const several = members(metadata, "multiValueHeaders", (value) => strings(Array.isArray(value) ? value : [value]));
  return Object.keys(several).length ? { ...read, multiValueHeaders: several } : read;
}

class PreludeDecoder {
  #held = Buffer.alloc(0);
  #body = [];
  heard = [];

  feed(data) {
    if (this.heard.length) return void this.#body.push(data); // FU-PRELUDE-5
    this.#held = Buffer.concat([this.#held, data]);
    const end = this.#held.indexOf(DELIMITER); // FU-PRELUDE-4
    if ((end < 0 ? this.#held.length : end + DELIMITER.length) > MAX_PRELUDE) throw new Fault("delimiter");
    if (end < 0) return;
    this.heard.push(readMetadata(this.#held.subarray(0, end)));
    this.#body.push(this.#held.subarray(end + DELIMITER.length));
  }

  finish(ends) {
    if (ends && !this.heard.length) throw new Fault("delimiter");
    const body = Buffer.concat(this.#body);
    if (body.length) this.heard.push({ body });
  }
}

// -- event stream messages: ES-FRAME, ES-CRC, ES-HEADER, ES-LIMIT

const CRCS = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit += 1) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});
const crc32 = (bytes) => {
  let sum = 0xffffffff; // ES-CRC-1
  for (const byte of bytes) sum = CRCS[(sum ^ byte) & 0xff] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
};

const SIZES = [0, 0, 1, 2, 4, 8, undefined, undefined, 8, 16]; // ES-HEADER-7
const MAX_VALUE = 32_767;

function readHeaders(block, start) {
  const headers = [];
  let at = 0;
  const take = (count, field) => {
    if (at + count > block.length) throw new Fault(field, start + at); // ES-HEADER-15
    return block.subarray(at, (at += count));
  };
  const text = (bytes, field) => {
    try {
      return UTF8.decode(bytes);
    } catch {
      throw new Fault(field); // ES-HEADER-14
    }
  };
  while (at < block.length) {
    const from = start + at;
    const size = take(1, "name length")[0];
    if (size === 0) throw new Fault("name length", from); // ES-HEADER-3
    const name = text(take(size, "name"), "name");
    if (headers.some((header) => header.name === name)) throw new Fault("name"); // ES-HEADER-5
    const [type] = take(1, "type");
    if (type > 9) throw new Fault("type", start + at - 1); // ES-HEADER-8
    const count = SIZES[type] ?? take(2, "value length").readUInt16BE();
    if (count > MAX_VALUE) throw new Fault("value length"); // ES-HEADER-13
    const value = take(count, "value");
    const read = [
      () => true,
      () => false,
      () => value.readInt8(),
      () => value.readInt16BE(),
      () => value.readInt32BE(),
      () => String(value.readBigInt64BE()),
      () => value,
      () => text(value, "value"),
      () => String(value.readBigInt64BE()),
      () => value,
    ];
    headers.push({ name, type, value: read[type]() });
  }
  return headers;
}

class EventStreamDecoder {
  #held = Buffer.alloc(0);
  #at = 0;
  #reads_for;
  heard = [];

  constructor(story) {
    this.#reads_for = story.for ?? "caller";
  }

  feed(data) {
    this.#held = Buffer.concat([this.#held, data]);
    while (this.#message());
  }

  #message() {
    const bytes = this.#held;
    const at = this.#at;
    if (bytes.length < 12) return false;
    const [total, length] = [bytes.readUInt32BE(0), bytes.readUInt32BE(4)];
    if (bytes.readUInt32BE(8) !== crc32(bytes.subarray(0, 8))) throw new Fault("prelude CRC", at + 8); // ES-FRAME-5
    if (total < 16) throw new Fault("total length", at);
    if (length > total - 16) throw new Fault("headers length", at + 4);
    if (this.#reads_for === "service") {
      if (length > 131_072) throw new Fault("headers length", at + 4); // ES-LIMIT-3
      if (total - 16 - length > 25_165_824) throw new Fault("total length", at);
    }
    if (bytes.length < total) return false;
    const end = total - 4;
    if (bytes.readUInt32BE(end) !== crc32(bytes.subarray(0, end))) throw new Fault("message CRC", at + end);
    const headers = readHeaders(bytes.subarray(12, 12 + length), at + 12);
    this.heard.push({ headers, payload: Buffer.from(bytes.subarray(12 + length, end)) });
    this.#held = bytes.subarray(total);
    this.#at += total;
    return true;
  }

  finish(ends) {
    if (ends && this.#held.length) throw new Fault("end"); // ES-FRAME-11
  }
}

// -- each story, delivered whole and in pieces

function* deliveries(wire) {
  yield wire.length ? [wire] : [];
  const size = wire.length <= BYTEWISE ? 1 : Math.ceil(wire.length / 7);
  yield Array.from({ length: Math.ceil(wire.length / size) }, (_, i) => wire.subarray(i * size, (i + 1) * size));
}

function outcome(decoder, pieces, ends) {
  try {
    for (const piece of pieces) decoder.feed(piece);
    decoder.finish(ends);
  } catch (fault) {
    if (!(fault instanceof Fault)) throw fault;
    return { verdict: "reject", events: decoder.heard, fault: { at: fault.at, field: fault.field } };
  }
  return { verdict: "accept", events: decoder.heard };
}

const DECODERS = { prelude: PreludeDecoder, "event-stream": EventStreamDecoder };
const said = { run: 0, differ: [] };
for (const [page, Decoder] of Object.entries(DECODERS)) {
  for (const story of stories(process.argv[2], page)) {
    for (const pieces of deliveries(Buffer.concat(story.wire))) {
      const got = outcome(new Decoder(story), pieces, story.ends ?? false);
      const same = got.verdict === story.verdict && isDeepStrictEqual(got.events, story.events);
      if (!same || (story.fault && !isDeepStrictEqual(got.fault, story.fault))) {
        said.differ.push({ page, name: story.name, word: story.word, verdict: got.verdict });
        break;
      }
    }
    said.run += 1;
  }
}
process.stdout.write(`${JSON.stringify(said)}\n`);
