// What the tests load: Uppy and the plugin, for them to put together.
import Uppy from '@uppy/core';
import Dashboard from '@uppy/dashboard';
import GoldenRetriever from '@uppy/golden-retriever';
import WsIngest from '../index.js';
import '@uppy/core/css/style.min.css';
import '@uppy/dashboard/css/style.min.css';

/** Shows a Dashboard whose files go to the upload route of this server. */
globalThis.begin = ({ golden = false, ...options } = {}) => {
  const uppy = new Uppy({ restrictions: {} })
    .use(Dashboard, { inline: true, target: '#dashboard', width: 940, height: 900, disableThumbnailGenerator: true, showLinkToFileUploadResult: true })
    .use(WsIngest, { url: '/upload/', ...options });
  if (golden) uppy.use(GoldenRetriever);
  globalThis.uppy = uppy;
};

/** Uploads one file without a Dashboard, and tells how it ended. */
globalThis.send = async (url, file, options = {}) => {
  const uppy = new Uppy().use(WsIngest, { url, ...options });
  const id = uppy.addFile({ name: file.name, type: file.type, data: file });
  await uppy.upload();
  const { error = null, response = null, uploadURL = null } = uppy.getFile(id);
  // A file that failed stays as it is: to be removed, it would be opened again and
  // deleted on the server.
  if (!error) uppy.destroy();
  return { error, response, uploadURL };
};
