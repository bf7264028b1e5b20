/**
 * Uploads of large files over a WebSocket that survive what breaks.
 *
 *     import { Upload } from './wsingest.js';
 *     const upload = new Upload(file, { url: '/upload/', onProgress: ({ received }) => show(received) });
 *     const { location } = await upload.start();
 *
 * This module needs no document and works in a worker as well. The custom
 * element `<ws-upload>` is in element.js.
 *
 * @module
 */

export { RUNNING, Upload } from './upload.js';
export { UploadError } from './errors.js';
export { endpoint } from './protocol.js';
export { remembered, reopen } from './remember.js';

/**
 * The types of what Upload takes and tells.
 *
 * @typedef {import('./upload.js').Options} Options
 * @typedef {import('./upload.js').Progress} Progress
 * @typedef {import('./upload.js').Result} Result
 * @typedef {import('./upload.js').State} State
 * @typedef {import('./protocol.js').Response} Response
 */
