import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { JobService } from "../../proto/gen/graft/v1/job_service_pb.js";
import { serveForTest } from "../../test/support/grpc-services.js";
import { everyone } from "../access/everyone.js";
import { grpcClient } from "./client.js";
import { tokenFile } from "./token-file.js";

const folder = mkdtempSync(join(tmpdir(), "graft-token-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("a channel that is open sends the token that its file holds now", async () => {
  // As the kubelet has it: the file is a link into a folder that is exchanged as a whole.
  const volume = mkdtempSync(join(folder, "volume-"));
  const write = (version: string): void => {
    mkdirSync(join(volume, version));
    writeFileSync(join(volume, version, "token"), `token-${version}\n`);
    symlinkSync(version, join(volume, "next"));
    renameSync(join(volume, "next"), join(volume, "data"));
  };
  write("1");
  symlinkSync("data/token", join(volume, "token"));

  const sent: (string | undefined)[] = [];
  const access = {
    ...everyone,
    authenticate: (token: string | undefined) => {
      sent.push(token);
      return everyone.authenticate(token);
    },
  };
  const { open } = await serveForTest({ explainJob: async () => [] }, {}, { access });
  const client = grpcClient(JobService, open({ token: tokenFile(join(volume, "token")) }));
  const ask = (): Promise<unknown> => client.explainJob({ job: { name: "flowers" } }, { deadlineMs: 30_000 });
  await ask();
  await ask();
  write("2");
  await ask();
  expect(sent).toEqual(["token-1", "token-1", "token-2"]);
});

test("a file that is written in place, is empty for a while, or gone", () => {
  const path = join(folder, "token");
  writeFileSync(path, "old");
  const token = tokenFile(path);
  writeFileSync(path, "");
  expect(token()).toBe("old");
  writeFileSync(path, " fresh \n");
  expect(token()).toBe("fresh");
  rmSync(path);
  expect(token()).toBe("fresh");
  writeFileSync(path, "again");
  expect(token()).toBe("again");
});

test("a file that has no token at the start is refused", () => {
  const path = join(folder, "empty");
  writeFileSync(path, "\n");
  for (const [file, message] of [
    [path, /empty: must hold a token/],
    [join(folder, "none"), /none: cannot be read/],
  ] as const)
    expect(() => tokenFile(file)).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringMatching(message) as string }),
    );
});
