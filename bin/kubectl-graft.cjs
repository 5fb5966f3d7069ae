#!/usr/bin/env node
// kubectl finds its plug-ins by their names on PATH; by this one the program knows that it is `kubectl graft`.
require("./graft.cjs");
