// Uploads a file with tus-js-client, as a page or a program does: tus_client.js ENDPOINT FILE OPTIONS
// OPTIONS is JSON: what goes to tus.Upload; `abort`: give up after the first bytes; `pipe`: read it as a stream whose
// length nobody knows. Prints one JSON object.
const fs = require("fs");
const { PassThrough } = require("stream");
const tus = require(process.env.TUS_JS_CLIENT);

const [endpoint, path, given] = process.argv.slice(2);
const { abort, pipe, ...options } = JSON.parse(given);
const requests = [];
const report = (result) => {
  console.log(JSON.stringify({ ...result, requests }));
  process.exit(0);
};
const file = fs.createReadStream(path);
const upload = new tus.Upload(pipe ? file.pipe(new PassThrough()) : file, {
  endpoint,
  retryDelays: Array(100).fill(20),
  metadata: { filename: "Käse (1).bin", filetype: "application/octet-stream" },
  onAfterResponse: (request, response) => {
    requests.push(`${request.getMethod()} ${response.getStatus()}`);
    upload.uploadId = response.getHeader("X-Upload-ID") || upload.uploadId;
  },
  onError: (error) => report({ error: String(error) }),
  onSuccess: () => report({ url: upload.url, uploadId: upload.uploadId }),
  onProgress: (sent) => abort && sent > 0 && upload.abort(true).then(() => report({ url: upload.url })),
  ...options,
});
upload.start();
