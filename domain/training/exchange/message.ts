import assert from "node:assert";
import { createCipheriv, createSecretKey, hash, type KeyObject, timingSafeEqual } from "node:crypto";
import { limits } from "../../limits.js";
import type { SubTree } from "../tree.js";

/**
 * Messages between the trainers of one generation: a fixed header, then float32 values, little-endian.
 *
 * | byte | holds |
 * | --- | --- |
 * | 0 | magic `GRX1` |
 * | 4 | kind: 1 partial, 2 finished, 3 gathered, 4 hello |
 * | 8 | job: first 16 bytes of the SHA-256 of its id |
 * | 24, 28 | generation, sender |
 * | 32 | step (float64) |
 * | 40 | part; of gathered messages the topic |
 * | 44, 48 | first grain and grains of the tree node; 0 where there is none |
 * | 52, 56 | chunk, values in it |
 * | 60 | 1 where the sender asks for an answer, else 0 |
 * | 64 | hash of the sender's weights before the step (16 bytes) |
 * | 80 | tag (16 bytes): AES-256-GMAC with the generation's key over the values; its nonce are the bytes before the tag |
 *
 * Every message of a generation has other bytes before the tag, or is the same message. GMAC takes a seventh of HMAC-SHA256's time (0.08 and 0.58 ms for 512 KiB on a busy core),
 * which was half of a step.
 */
export interface Message {
  readonly kind: MessageKind;
  readonly sender: number;
  readonly step: number;
  readonly part: number;
  readonly node: SubTree;
  readonly chunk: number;
  readonly weightsHash: string;
  /** Set in the first chunk of what is sent again: whoever has what the sender lacks answers. Answers never ask. */
  readonly asks: boolean;
  /** The float32 values as bytes; they may begin at any address. */
  readonly values: Uint8Array;
}

/** "hello" has no values: its sender listens from now on. */
export type MessageKind = "partial" | "finished" | "gathered" | "hello";

/** One trainer's place in one generation of a job. */
export interface Channel {
  readonly job: string;
  readonly generation: number;
  readonly trainers: number;
  /** This trainer's number, from 0. */
  readonly self: number;
  /** Secret of the generation, 32 bytes: whoever lacks it can neither send nor change a message. */
  readonly key: Uint8Array;
  /** Bytes of one message, header included; equal for all trainers. Default: limits.exchangeMessageBytes. */
  readonly messageBytes?: number;
}

export interface Outgoing {
  readonly to: number | "all";
  readonly payload: Uint8Array;
}

/** Why a message is not for us. `damaged` means that its bytes are not what a holder of the key sent. */
export type Refusal = "damaged" | "otherJob" | "otherGeneration";

export const headerBytes = 96;
const MAGIC = 0x31585247;
const KINDS: readonly MessageKind[] = ["partial", "finished", "gathered", "hello"];
const SENDER_AT = 28;
const ASKS_AT = 60;
const TAG_AT = 80;

/** Subjects that trainer `self` listens to are those of its number and of "all". */
export function exchangeSubject(job: string, generation: number, to: number | "all"): string {
  return `graft.exchange.${job}.${generation}.${to}`;
}

/**
 * What differing weights are noticed by, 16 bytes in hex: four lanes of an FNV-like hash over the bits of every fourth value. Each step is a bijection of its lane, so one differing value always shows.
 * It guards against accidents, not against attacks (the tag does), and takes a tenth of a SHA-256's time.
 */
export function hashOfWeights(parameters: Float32Array): string {
  const bits = new Int32Array(parameters.buffer, parameters.byteOffset, parameters.length);
  let [a, b, c, d] = [0x811c9dc5 | 0, 0x01234567, 0x2468ace0, bits.length];
  const whole = bits.length - (bits.length % 4);
  for (let i = 0; i < whole; i += 4) {
    a = mix(a, bits[i] as number);
    b = mix(b, bits[i + 1] as number);
    c = mix(c, bits[i + 2] as number);
    d = mix(d, bits[i + 3] as number);
  }
  for (let i = whole; i < bits.length; i++) a = mix(a, bits[i] as number);
  return [a, b, c, d].map((lane) => (lane >>> 0).toString(16).padStart(8, "0")).join("");
}

function mix(lane: number, bits: number): number {
  const product = Math.imul(lane ^ bits, 0x01000193);
  return product ^ (product >>> 15);
}

export function valuesPerMessage(channel: Channel): number {
  return Math.floor(((channel.messageBytes ?? limits.exchangeMessageBytes) - headerBytes) / 4);
}

/** What is the same in all messages that carry one vector. */
export type Header = Omit<Message, "sender" | "chunk" | "asks" | "values">;

/** The messages that carry `values`, one a chunk; an empty vector still has one, so that its owner is heard. */
export function encodeMessages(channel: Channel, to: Outgoing["to"], header: Header, values: Float32Array): Outgoing[] {
  const perMessage = valuesPerMessage(channel);
  return Array.from({ length: Math.max(1, Math.ceil(values.length / perMessage)) }, (_, chunk) =>
    encodeChunk(channel, to, header, chunk, values.subarray(chunk * perMessage, (chunk + 1) * perMessage)),
  );
}

/** The message that carries `values`, one chunk of a vector. */
export function encodeChunk(channel: Channel, to: Outgoing["to"], header: Header, chunk: number, values: Float32Array): Outgoing {
  return { to, payload: encodeMessage(channel, { ...header, sender: channel.self, chunk, asks: false, values: bytesOf(values) }) };
}

/** What a trainer says to all once it listens. */
export function encodeHello(channel: Channel): Outgoing {
  const header: Header = { kind: "hello", step: 0, part: 0, node: { first: 0, grains: 0 }, weightsHash: "0".repeat(32) };
  return encodeChunk(channel, "all", header, 0, new Float32Array(0));
}

export function encodeMessage(channel: Channel, message: Message): Uint8Array {
  assert(/^[0-9a-f]{32}$/u.test(message.weightsHash), `a hash of weights is 32 hex digits, got "${message.weightsHash}"`);
  const buffer = Buffer.allocUnsafe(headerBytes + message.values.length); // every byte is written below
  const bytes = new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, KINDS.indexOf(message.kind) + 1, true);
  bytes.set(secretsOf(channel).job, 8);
  view.setUint32(24, channel.generation, true);
  view.setUint32(SENDER_AT, message.sender, true);
  view.setFloat64(32, message.step, true);
  view.setUint32(40, message.part, true);
  view.setUint32(44, message.node.first, true);
  view.setUint32(48, message.node.grains, true);
  view.setUint32(52, message.chunk, true);
  view.setUint32(56, message.values.length / 4, true);
  view.setUint32(ASKS_AT, message.asks ? 1 : 0, true);
  bytes.set(Buffer.from(message.weightsHash, "hex"), 64);
  bytes.set(message.values, headerBytes);
  bytes.set(tagOf(channel, bytes), TAG_AT);
  return bytes;
}

/** Whether it is a hello, which speaks of no weights. */
export function isHello(bytes: Uint8Array): boolean {
  return bytes[4] === KINDS.indexOf("hello") + 1;
}

/** Whether a message says that this trainer sent it; for those it needs no other check. */
export function isOwn(channel: Channel, bytes: Uint8Array): boolean {
  return bytes.length >= headerBytes && senderOf(bytes) === channel.self;
}

/** Who sent a message, where it was not refused. */
export function senderOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(SENDER_AT, true);
}

/** What was sent before, to be sent again: the first message now asks for an answer. */
export function askingAgain(channel: Channel, sent: readonly Outgoing[]): Outgoing[] {
  return sent.map((outgoing, index) => {
    if (index > 0) return outgoing;
    const payload = new Uint8Array(outgoing.payload);
    new DataView(payload.buffer).setUint32(ASKS_AT, 1, true);
    payload.set(tagOf(channel, payload), TAG_AT);
    return { ...outgoing, payload };
  });
}

/** Checks length, magic, tag, job, generation and sender. */
export function decodeMessage(channel: Channel, bytes: Uint8Array): Message | Refusal {
  if (bytes.length < headerBytes) return "damaged";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint32(0, true) !== MAGIC) return "damaged";
  // Compared before the tag: another job's or generation's messages carry another key and are no sign of damage.
  if (!secretsOf(channel).job.equals(bytes.subarray(8, 24))) return "otherJob";
  if (view.getUint32(24, true) !== channel.generation) return "otherGeneration";
  if (!timingSafeEqual(tagOf(channel, bytes), bytes.subarray(TAG_AT, headerBytes))) return "damaged";
  const kind = KINDS[view.getUint32(4, true) - 1];
  const sender = view.getUint32(SENDER_AT, true);
  const values = bytes.subarray(headerBytes);
  if (kind === undefined || sender >= channel.trainers || values.length !== 4 * view.getUint32(56, true)) return "damaged";
  return {
    kind,
    sender,
    step: view.getFloat64(32, true),
    part: view.getUint32(40, true),
    node: { first: view.getUint32(44, true), grains: view.getUint32(48, true) },
    chunk: view.getUint32(52, true),
    weightsHash: Buffer.from(bytes.subarray(64, TAG_AT)).toString("hex"),
    asks: view.getUint32(ASKS_AT, true) === 1,
    values,
  };
}

export function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** What is derived once from a channel. */
const secrets = new WeakMap<Channel, { readonly job: Buffer; readonly key: KeyObject }>();

function secretsOf(channel: Channel): { readonly job: Buffer; readonly key: KeyObject } {
  let known = secrets.get(channel);
  if (known === undefined) {
    known = { job: hash("sha256", channel.job, "buffer").subarray(0, 16), key: createSecretKey(channel.key) };
    secrets.set(channel, known);
  }
  return known;
}

function tagOf(channel: Channel, bytes: Uint8Array): Buffer {
  const mac = createCipheriv("aes-256-gcm", secretsOf(channel).key, bytes.subarray(0, TAG_AT));
  mac.setAAD(bytes.subarray(headerBytes));
  mac.final();
  return mac.getAuthTag();
}
