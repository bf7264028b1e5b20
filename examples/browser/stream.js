/**
 * Sources of unknown length that can be read once. What the server has not
 * called durable is kept, up to a bound, to be sent again after a lost
 * connection.
 *
 * @module
 */

import { UploadError, unreadable } from './errors.js';

const BLOCK = 16 << 10; // smaller pieces are collected in blocks of this size

/** @typedef {{ start: number, length: number, data: Uint8Array | Blob }} Piece */

/** Retention holds the bytes of a stream between two positions that both move on. */
class Retention {
  /** @type {Piece[]} without gaps */
  #pieces = [];
  end = 0;

  get held() {
    const [first] = this.#pieces;
    return first ? this.end - first.start : 0;
  }

  /** @param {Uint8Array | Blob} data */
  append(data) {
    const length = data instanceof Blob ? data.size : data.length;
    if (length === 0) return;
    if (data instanceof Blob || length >= BLOCK) this.#pieces.push({ start: this.end, length, data });
    else this.#collect(data);
    this.end += length;
  }

  /**
   * Copies a small piece behind the last, so that thousands of them are not thousands of objects.
   *
   * @param {Uint8Array} data
   */
  #collect(data) {
    const last = this.#pieces[this.#pieces.length - 1];
    if (last?.data instanceof Uint8Array && last.data.length === BLOCK && last.length + data.length <= BLOCK) {
      last.data.set(data, last.length);
      last.length += data.length;
      return;
    }
    const block = new Uint8Array(BLOCK);
    block.set(data);
    this.#pieces.push({ start: this.end, length: data.length, data: block });
  }

  /**
   * Forgets pieces that lie below position with all their bytes.
   *
   * @param {number} position
   */
  release(position) {
    const keep = this.#pieces.findIndex((p) => p.start + p.length > position);
    this.#pieces.splice(0, keep < 0 ? this.#pieces.length : keep);
  }

  /**
   * @param {number} position
   * @param {number} most
   * @returns {Promise<Uint8Array>}
   */
  async read(position, most) {
    const piece = this.#pieces.find((p) => p.start <= position && position < p.start + p.length);
    if (!piece) {
      throw new UploadError('stream-failed', `The server asks for byte ${position} again, which it had called safe: a stream cannot go back there.`);
    }
    const from = position - piece.start, to = Math.min(piece.length, from + most);
    if (piece.data instanceof Uint8Array) return piece.data.subarray(from, to);
    try {
      return new Uint8Array(await piece.data.slice(from, to).arrayBuffer());
    } catch (error) {
      throw unreadable(error);
    }
  }
}

/** @typedef {import('./source.js').Source} Source */

/**
 * What the two sources of this module have in common.
 *
 * @implements {Source}
 */
class RetainingSource {
  seekable = false;
  /** @type {number | null} */
  size = null;
  /** @type {() => void} */
  onmore = () => {};
  /** @type {UploadError | null} */
  failure = null;
  kept = new Retention();

  /** @param {number} bound bytes */
  constructor(bound) {
    this.bound = bound;
    this.checkEvery = Math.max(1, Math.min(4 << 20, Math.floor(bound / 4)));
  }

  get held() { return this.kept.held; }

  reader() { return this; }

  /** @param {number} position @param {number} most */
  async read(position, most) {
    if (this.failure && position >= this.kept.end) throw this.failure;
    return this.kept.read(position, most);
  }

  /** @param {number} position @param {number} [_keep] */
  ready(position, _keep) {
    return position < this.kept.end || this.size !== null || this.failure !== null;
  }

  /** @param {number} position */
  release(position) { this.kept.release(position); }

  ended() {
    this.size = this.kept.end;
    this.onmore();
  }

  /** @param {string} message @param {unknown} [cause] */
  failed(message, cause) {
    this.failure = new UploadError('stream-failed', message, { cause });
    this.onmore();
  }

  async close() {}
}

/** A ReadableStream of bytes or blobs. It is read no faster than the server takes it in. */
export class StreamSource extends RetainingSource {
  #reader;
  #pulling = false;

  /** @param {ReadableStream} stream @param {number} bound */
  constructor(stream, bound) {
    super(bound);
    this.#reader = stream.getReader();
  }

  /** @param {number} position @param {number} [keep] */
  ready(position, keep = this.bound) {
    if (super.ready(position)) return true;
    // One piece alone may be larger than the bound.
    if (!this.#pulling && (keep === Infinity || this.held < Math.min(keep, this.bound))) this.#pull();
    return false;
  }

  async #pull() {
    this.#pulling = true;
    try {
      const { done, value } = await this.#reader.read();
      if (done) return this.ended();
      this.kept.append(bytesOf(value));
      this.onmore();
    } catch (error) {
      this.failed(`The stream cannot be read any further: ${error instanceof Error ? error.message : error}`, error);
    } finally {
      this.#pulling = false;
    }
    this.onmore();
  }

  async close() {
    await this.#reader.cancel().catch(() => {});
  }
}

/** @param {unknown} value @returns {Uint8Array | Blob} */
function bytesOf(value) {
  if (value instanceof Uint8Array || value instanceof Blob) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  throw new TypeError(`it gave a ${typeof value} instead of bytes`);
}

/**
 * What a MediaRecorder records, from its next chunk to its stop. Its chunks stay
 * blobs, which a browser keeps outside of the page's memory. A recorder cannot
 * be slowed down: when more than the bound waits for the server, it is paused
 * until half of that is safe.
 */
export class RecorderSource extends RetainingSource {
  #recorder;
  #halted = false; // by us, not by the page

  /** @param {MediaRecorder} recorder @param {number} bound */
  constructor(recorder, bound) {
    super(bound);
    this.#recorder = recorder;
    recorder.addEventListener('dataavailable', ({ data }) => this.#take(data));
    recorder.addEventListener('stop', () => this.ended());
    recorder.addEventListener('error', () => this.failed('The recording was broken off by the browser.'));
  }

  /** @param {Blob} data */
  #take(data) {
    if (this.size !== null) return;
    this.kept.append(data);
    if (this.held >= this.bound && this.#recorder.state === 'recording') {
      this.#recorder.pause();
      this.#halted = true;
    }
    this.onmore();
  }

  /** @param {number} position */
  release(position) {
    super.release(position);
    if (!this.#halted || this.held > this.bound / 2) return;
    this.#halted = false;
    if (this.#recorder.state === 'paused') this.#recorder.resume();
  }

  async close() {
    if (this.#recorder.state !== 'inactive') this.#recorder.stop();
  }
}
