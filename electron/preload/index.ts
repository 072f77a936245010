import { ipcRenderer } from "electron";

/*
The page makes a MessageChannel and posts one end here; it is handed to the main process, which answers RPC on it.
Nothing is exposed to the page: no API, no IPC channel, no Node.
*/
window.addEventListener("message", (event) => {
  const port = event.ports[0];
  if (event.source !== window || event.data !== "dtma:rpc-port" || port === undefined) return;
  ipcRenderer.postMessage("dtma:rpc-port", null, [port]);
});
