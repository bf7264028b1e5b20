/**
 * The messages of wsingest.v1, as far as a client has to do with them. The
 * normative text is middleware/protocol/PROTOCOL.md.
 *
 * @module
 */

export const SUBPROTOCOL = 'wsingest.v1';

/** What may be on its way on a connection before the server has said anything, in bytes. */
export const INITIAL_WINDOW = 256 << 10;

/**
 * @typedef {[number, number | null]} Range from a position up to, not including, another; null: as far as the upload reaches
 *
 * @typedef {object} Open
 * @property {'open'} type
 * @property {string} id
 * @property {string} [name]
 * @property {string} [media-type]
 * @property {number} [length]
 * @property {Record<string, string>} [metadata]
 * @property {'sha-256'} [want-digest]
 * @property {Range} [range]
 * @property {boolean} [resume]
 * @property {number} [ping-timeout-ms]
 * @property {string} [ticket]
 *
 * @typedef {{ type: 'check', offset: number, crc32c: string }} Check
 * @typedef {{ type: 'finish', length?: number, digest?: Digest }} Finish
 * @typedef {{ type: 'cancel' }} Cancel
 * @typedef {Open | Check | Finish | Cancel} ClientMessage
 *
 * @typedef {{ 'crc32c'?: string, 'sha-256'?: string }} Digest checksums of a whole file, in base64
 *
 * @typedef {object} Ready
 * @property {'ready'} type
 * @property {string} id
 * @property {number} offset everything below is durable
 * @property {number} received everything below has been taken in
 * @property {number} cursor where this connection goes on
 * @property {number} [length]
 * @property {Range[]} missing
 * @property {{ range: [number, number], crc32c: string }[]} have
 * @property {number} window
 * @property {number} chunk
 * @property {{ 'max-size'?: number, 'min-append-size'?: number, 'max-append-size'?: number, 'max-age'?: number, 'max-lifetime'?: number, 'max-rate'?: number }} limits
 * @property {{ 'interval-ms': number, 'timeout-ms': number }} keepalive
 * @property {boolean} [complete]
 *
 * @typedef {object} Ack
 * @property {'ack'} type
 * @property {string} id
 * @property {number} offset
 * @property {number} received
 * @property {number} window
 * @property {number} chunk
 * @property {string} [state] what is done with an upload that `finish` was sent for; or `waiting-for-space`, of one that is being sent
 *
 * @typedef {object} Response what the app behind the server answered
 * @property {number} status
 * @property {Record<string, string[]>} [headers]
 * @property {string} [body]
 * @property {string} [body-base64]
 * @property {boolean} [truncated]
 *
 * @typedef {object} Done
 * @property {'done'} type
 * @property {string} id
 * @property {number} length
 * @property {Digest} [digest]
 * @property {Response} [response]
 * @property {string} [location]
 * @property {boolean} [cancelled]
 *
 * @typedef {object} ServerError
 * @property {'error'} type
 * @property {string} [id]
 * @property {string} code
 * @property {string} detail
 * @property {boolean} resumable
 * @property {number} [retry-after-ms]
 * @property {number} [offset]
 * @property {Range[]} [missing]
 * @property {Response} [response]
 *
 * @typedef {{ type: 'goaway', id?: string, offset: number, 'retry-after-ms'?: number }} Goaway
 * @typedef {Ready | Ack | Done | ServerError | Goaway} ServerMessage
 */

const KNOWN = new Set(['ready', 'ack', 'done', 'error', 'goaway']);

/**
 * Reads a message of the server.
 *
 * @param {unknown} data of the WebSocket's message event
 * @returns {ServerMessage | null} null when it is none of this protocol
 */
export function parse(data) {
  if (typeof data !== 'string') return null;
  try {
    const m = JSON.parse(data);
    return KNOWN.has(m?.type) ? m : null;
  } catch {
    return null;
  }
}

/**
 * Makes the id of a new upload, of 128 random bits: who knows it may go on with
 * the upload, so it is not derived from the file.
 */
export function newID() {
  const bits = crypto.getRandomValues(new Uint8Array(16));
  return btoa(String.fromCharCode(...bits)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '');
}

/**
 * Makes the address of an upload route absolute, and http into ws.
 *
 * @param {string | URL} url
 * @returns {string}
 */
export function endpoint(url) {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.protocol = absolute.protocol.replace(/^http/, 'ws');
  if (!/^wss?:$/.test(absolute.protocol)) throw new TypeError(`url: expected the address of an upload route, got ${url}`);
  absolute.hash = '';
  return absolute.href;
}
