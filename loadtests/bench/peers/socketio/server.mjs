// A peer: socket.io on Node, one room for everybody, by websocket only, as its documentation has it.

import { createServer } from "node:http";
import { createInterface } from "node:readline";

import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false });
http.listen(Number(process.argv[2]), "127.0.0.1");

createInterface({ input: process.stdin })
  .on("line", (line) => io.emit("frame", line))
  .on("close", () => process.exit(0));
