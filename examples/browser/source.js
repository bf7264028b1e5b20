/**
 * Where the bytes of an upload come from.
 *
 * @module
 */

import { unreadable } from './errors.js';
import { RecorderSource, StreamSource } from './stream.js';

/**
 * @typedef {object} Reader reads from one place to the next
 * @property {(position: number, most: number) => Promise<Uint8Array>} read returns 1 to `most` bytes from a position on, valid until the next call. Rejects with an UploadError.
 *
 * @typedef {object} Source
 * @property {number | null} size in bytes; null as long as it is not known
 * @property {boolean} seekable whether any byte can be read at any time
 * @property {number} checkEvery bytes between two checksums compared on the way
 * @property {() => Reader} reader a new reader, independent of others
 * @property {(position: number, keep: number) => boolean} ready whether there are bytes at position, or it is known that there will be none. Of what it gave before it should not keep more than keep
 * @property {number} held bytes it keeps, to give them again
 * @property {(position: number) => void} release says that nothing below position will be read again
 * @property {() => void} [onmore] called when `ready` may have changed
 * @property {() => Promise<void>} close ends a source nobody will read any more
 */

/** What is read of a file at a time: asking a browser for 64 KiB takes nearly as long as asking it for 1 MiB. */
const BLOCK = 1 << 20;

const CHECK_EVERY = 64 << 20;

/**
 * @param {Blob} blob
 * @param {number} start
 * @param {number} end
 * @returns {Promise<Uint8Array>}
 */
async function readBlob(blob, start, end) {
  /** @type {ArrayBuffer} */
  let buffer;
  try {
    buffer = await blob.slice(start, end).arrayBuffer();
  } catch (error) {
    throw unreadable(error);
  }
  if (buffer.byteLength !== end - start) throw unreadable(new Error('it has become shorter'));
  return new Uint8Array(buffer);
}

/**
 * Reads ahead by one block, so that the line need not wait for the disk.
 *
 * @implements {Reader}
 */
class BlobReader {
  #blob;
  #start = 0; // of the block
  /** @type {Uint8Array} */
  #block = new Uint8Array();
  /** @type {{ start: number, bytes: Promise<Uint8Array> } | null} */
  #next = null;

  /** @param {Blob} blob */
  constructor(blob) { this.#blob = blob; }

  /** @param {number} start */
  #fetch(start) {
    const bytes = readBlob(this.#blob, start, Math.min(start + BLOCK, this.#blob.size));
    bytes.catch(() => {}); // it may never be asked for
    return { start, bytes };
  }

  /** @param {number} position @param {number} most */
  async read(position, most) {
    const inside = position - this.#start;
    if (inside < 0 || inside >= this.#block.length) {
      const block = this.#next?.start === position ? this.#next : this.#fetch(position);
      this.#next = null;
      this.#block = await block.bytes;
      this.#start = position;
      const end = position + this.#block.length;
      if (end < this.#blob.size) this.#next = this.#fetch(end);
      return this.#block.subarray(0, most);
    }
    return this.#block.subarray(inside, inside + most);
  }
}

/**
 * A file, or anything else whose bytes stay where they are.
 *
 * @implements {Source}
 */
export class BlobSource {
  seekable = true;
  checkEvery = CHECK_EVERY;
  held = 0;

  /** @param {Blob} blob */
  constructor(blob) {
    this.blob = blob;
    this.size = blob.size;
  }

  reader() { return new BlobReader(this.blob); }
  ready() { return true; }
  release() {}
  async close() {}
}

/**
 * @param {Blob | ReadableStream | MediaRecorder} from
 * @param {number} retention bytes that a source which cannot be read again may hold
 * @returns {Source}
 */
export function sourceOf(from, retention) {
  if (from instanceof Blob) return new BlobSource(from);
  if (typeof ReadableStream !== 'undefined' && from instanceof ReadableStream) return new StreamSource(from, retention);
  if (typeof MediaRecorder !== 'undefined' && from instanceof MediaRecorder) return new RecorderSource(from, retention);
  throw new TypeError('expected a File, a Blob, a ReadableStream or a MediaRecorder to upload');
}
