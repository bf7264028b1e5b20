/** What an upload fails with. @module */

/**
 * Codes that are this library's own; all others are those of section 16 of
 * PROTOCOL.md, as the server said them.
 *
 * @typedef {'disconnected' | 'file-changed' | 'file-unreadable' | 'stream-failed' | 'no-protocol' | 'gave-up'} LocalCode
 */

/** Why an upload failed, or waits. Its `message` is a sentence for a person. */
export class UploadError extends Error {
  /**
   * @param {LocalCode | string} code
   * @param {string} message
   * @param {{ resumable?: boolean, retryAfter?: number, refused?: boolean, response?: import('./protocol.js').Response, cause?: unknown }} [more]
   */
  constructor(code, message, more = {}) {
    const { resumable = false, retryAfter, refused = false, response, cause } = more;
    super(message);
    this.name = 'UploadError';
    /** What went wrong, for a program. */
    this.code = code;
    /** Whether starting the same upload again can go on where it was. */
    this.resumable = resumable;
    /** How long the server asked to stay away, in ms. */
    this.retryAfter = retryAfter;
    /** The server said it, in contrast to a connection that broke. */
    this.refused = refused;
    /** What the app behind the server answered, with the code `rejected`. */
    this.response = response;
    /** The exception behind it, if there is one. */
    this.cause = cause;
  }

  /** Trying again, as often as it may be, does not mend it. */
  get final() {
    return !this.resumable || FINAL.has(this.code);
  }
}

// Resumable if a person says so, but never by itself: two clients would take
// the upload from each other for ever.
const FINAL = new Set(['superseded', 'bad-message', 'inconsistent-upload-length']);

/**
 * @param {import('./protocol.js').ServerError} m
 */
export function fromServer(m) {
  const { code, detail, resumable, response } = m;
  return new UploadError(code, detail, { resumable, retryAfter: m['retry-after-ms'], refused: true, response });
}

/** @param {string} message @param {number} [retryAfter] in ms */
export function disconnected(message, retryAfter) {
  return new UploadError('disconnected', message, { resumable: true, retryAfter });
}

/** @param {number} code of a WebSocket's close, when no `error` came before it */
export function closedWith(code) {
  switch (code) {
    case 4409: return new UploadError('superseded', 'Another tab, window or program goes on with this upload.', { resumable: true });
    case 1008: return new UploadError('bad-message', 'The server ended the connection for good and gave no reason.', { resumable: true });
    case 1009: return new UploadError('max-size-exceeded', 'The server, or a proxy before it, does not take messages of this size.');
    default: return disconnected('The connection to the server was lost.');
  }
}

/** @param {unknown} cause what a Blob or a stream threw */
export function unreadable(cause) {
  return new UploadError('file-unreadable', 'The browser can no longer read this file: it was changed, moved or deleted. Choose it again.', { cause });
}

/** @returns {UploadError} */
export function changed() {
  return new UploadError('file-changed', 'The upload was begun with a file of the same name, size and date, but other content. Choose that one again, or start over with this one.');
}
