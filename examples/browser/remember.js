/**
 * Which uploads this browser began, so that a page that was reloaded, or a
 * browser that crashed, goes on with them. It is kept in IndexedDB, which workers
 * have as well, and which can hold a file handle.
 *
 * @module
 */

import { newID } from './protocol.js';

const DATABASE = 'wsingest', STORE = 'uploads';
const KEEP = 30 * 24 * 3600 * 1000; // ms; no server is expected to wait any longer

/**
 * What is remembered of an upload.
 *
 * @typedef {object} Memory
 * @property {string} key
 * @property {string} id
 * @property {string} url
 * @property {string} name
 * @property {number} size in bytes
 * @property {number} lastModified as of a File
 * @property {number} since ms, as Date.now()
 * @property {FileSystemFileHandle} [handle] leads to the file without asking for it again
 */

/** @type {Promise<IDBDatabase | null> | undefined} */
let opening;

/** @type {Map<string, Memory>} where the browser forbids storage: until the page is closed */
const fallback = new Map();

function open() {
  return opening ??= new Promise((resolve) => {
    try {
      const request = indexedDB.open(DATABASE, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: 'key' });
      request.onerror = () => resolve(null);
      request.onsuccess = () => {
        request.result.onversionchange = () => { request.result.close(); opening = undefined; };
        resolve(request.result);
      };
    } catch {
      resolve(null);
    }
  });
}

/**
 * Runs one transaction, which is as a whole or not at all. Resolves with null
 * where there is no database.
 *
 * @template T
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore, give: (value: T) => void) => void} work
 * @returns {Promise<T | null>}
 */
async function transact(mode, work) {
  const database = await open();
  if (!database) return null;
  return new Promise((resolve) => {
    /** @type {T | null} */
    let result = null;
    try {
      const transaction = database.transaction(STORE, mode);
      transaction.oncomplete = () => resolve(result);
      transaction.onabort = () => resolve(null); // no room, for instance
      work(transaction.objectStore(STORE), (value) => { result = value; });
    } catch {
      resolve(null);
    }
  });
}

/**
 * What the browser tells of a file names it. That its bytes are the same as well
 * is found out with the server.
 *
 * @param {string} url
 * @param {{ name: string, size: number, lastModified: number }} file
 */
export function keyOf(url, file) {
  return JSON.stringify([url, file.name, file.size, file.lastModified]);
}

/**
 * Returns what is remembered under a key, or remembers a new upload there. Two
 * tabs that ask at the same time get the same.
 *
 * @param {Omit<Memory, 'id' | 'since'>} upload
 * @returns {Promise<Memory>}
 */
export async function recall(upload) {
  /** @type {Memory} */
  const fresh = { ...upload, id: newID(), since: Date.now() };
  const put = /** @type {(store: IDBObjectStore, memory: Memory) => void} */ ((store, memory) => { store.put(memory); });
  const remembered = await transact('readwrite', (store, /** @type {(m: Memory) => void} */ give) => {
    const get = store.get(upload.key);
    get.onsuccess = () => {
      /** @type {Memory} */
      const memory = get.result ? { ...get.result, handle: upload.handle ?? get.result.handle } : fresh;
      put(store, memory);
      give(memory);
    };
  });
  if (remembered) return remembered;
  const memory = fallback.get(upload.key) ?? fresh;
  fallback.set(upload.key, memory);
  return memory;
}

/**
 * Forgets an upload, unless another has taken its place.
 *
 * @param {string} key
 * @param {string} id
 */
export async function forget(key, id) {
  if (fallback.get(key)?.id === id) fallback.delete(key);
  await transact('readwrite', (store) => {
    const get = store.get(key);
    get.onsuccess = () => { if (get.result?.id === id) store.delete(key); };
  });
}

/**
 * Lists the uploads to a URL that were begun and not finished, the latest first.
 *
 * @param {string} url absolute
 * @returns {Promise<Memory[]>}
 */
export async function remembered(url) {
  const all = await transact('readwrite', (store, /** @type {(m: Memory[]) => void} */ give) => {
    const get = store.getAll();
    get.onsuccess = () => {
      /** @type {Memory[]} */
      const live = [];
      for (const memory of /** @type {Memory[]} */ (get.result)) {
        if (Date.now() - memory.since < KEEP) live.push(memory);
        else store.delete(memory.key);
      }
      give(live);
    };
  });
  return (all ?? [...fallback.values()]).filter((m) => m.url === url).sort((a, b) => b.since - a.since);
}

/**
 * Gets the file of an upload through the handle that was remembered with it,
 * where the browser has such handles. It may ask the person for permission, so
 * it has to be called from a click or a key. Null when the file is to be chosen
 * by hand: there is no handle, no permission, or the file is not the same.
 *
 * @param {Memory} memory
 * @returns {Promise<File | null>}
 */
export async function reopen(memory) {
  const handle = /** @type {any} */ (memory.handle);
  if (!handle) return null;
  try {
    const wish = { mode: 'read' };
    const granted = !handle.queryPermission || await handle.queryPermission(wish) === 'granted' ||
      await handle.requestPermission(wish) === 'granted';
    /** @type {File | null} */
    const file = granted ? await handle.getFile() : null;
    return file && file.size === memory.size && file.lastModified === memory.lastModified ? file : null;
  } catch {
    return null; // the file is gone, or there was no click
  }
}
