import "./jitless.ts";
import "./styles.css";
import { keepConnected, openPort, openSocket } from "./api.ts";
import { mountWindow } from "./mount.tsx";

const isElectron = navigator.userAgent.includes(" Electron/");

mountWindow();
keepConnected(isElectron ? openPort : openSocket);
