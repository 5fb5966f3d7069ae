#!/usr/bin/env node
require("./thread-pool.cjs");

import("../dist/cli/main.js");
