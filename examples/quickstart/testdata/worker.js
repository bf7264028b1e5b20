// An upload in a worker: it gets a File, and tells what becomes of it.
import '/wire.js';
import { Upload } from '/wsingest/wsingest.js';

onmessage = async ({ data: { file, options } }) => {
  const upload = new Upload(file, {
    url: '/upload/', ...options,
    onProgress: (progress) => postMessage({ progress }),
    onState: (state) => postMessage({ state, document: typeof document }),
  });
  try {
    postMessage({ result: await upload.start(), wire });
  } catch (error) {
    postMessage({ error: error.message });
  }
};
