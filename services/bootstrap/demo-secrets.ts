/** A Secret of Kubernetes that is to be made unless one of its name is there. */
export interface DemoSecret {
  readonly name: string;
  readonly type: string;
  readonly values: Readonly<Record<string, string>>;
}

/**
 * The Secrets of the demo. No value occurs in two of them, so that any of them may be there already, made by hand or by a bootstrap that was interrupted.
 * `newPassword` gives at most 40 letters and digits (as MinIO takes them), the first one a letter (NATS takes what else it begins with for a number).
 */
export function demoSecrets(picturesEndpoint: string, newPassword: () => string): DemoSecret[] {
  return [
    { name: "minio", type: "Opaque", values: { "root-user": "minio-root", "root-password": newPassword() } },
    {
      name: "graft-coordinator",
      type: "Opaque",
      values: { "store-access-key": "graft-coordinator", "store-secret-key": newPassword() },
    },
    {
      name: "graft-workers",
      type: "Opaque",
      values: {
        "store-access-key": "graft-workers",
        "store-secret-key": newPassword(),
        "nats-user": "graft-trainer",
        "nats-password": newPassword(),
      },
    },
    {
      name: "sample-pictures",
      type: "graft.dev/dataset-credentials",
      values: { endpoint: picturesEndpoint, accessKey: "sample-pictures", secretKey: newPassword(), region: "us-east-1" },
    },
  ];
}
