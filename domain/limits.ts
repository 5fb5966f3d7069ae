/** Every bound, with its unit in its name and its reason. */
export const limits = {
  /** A picture file; larger ones are rejected before they are read. */
  imageBytes: 64 * 1024 * 1024,
  /** Width x height before decoding: 100 megapixels is above any camera of 2026 and decodes within 400 MB. */
  imagePixels: 100_000_000,
  /** Long side of a thumbnail in the report. */
  thumbnailPixels: 96,
  /** Characters of a cache domain: a DNS label's. */
  cacheDomainCharacters: 63,
  /** Rows of one shard, whatever their size. */
  shardRows: 4_096,
  /** Features of one shard: one PUT, one allocation. */
  shardBytes: 32 * 1024 * 1024,
  /** Pictures of one task: at least this many, so that a commit is worth its cost … */
  taskPicturesMin: 64,
  /** … and at most this many, so that a lost worker loses little. */
  taskPicturesMax: 4_096,
  /** Tasks that a large listing is aimed to have (images / this is the task size between the two above). */
  tasksAimedAt: 64,
  /**
   * Rows of one forward pass: the fastest in a CPU's caches while other threads decode (8 rows take a tenth more CPU time, and results of decoding wait four times as long for the
   * thread that runs it), and small enough that an extractor stops within a second. No bit of onnx depends on it;
   * tensorflow's do, and its numerics profile names it.
   */
  forwardBatch: 2,
  /**
   * Activations of one call of the onnx engine, forward pass only; a call takes at least one grain whatever its size. What is needed at a time on the way back is about four times as much:
   * whole MobileNetV2 in grains of 4 rows stays well below 2 GiB, its last block takes all 32 rows in one call.
   */
  activationBytesOfCall: 128 * 1024 * 1024,
  /** … and of more than two calls that it runs beside each other, all together. */
  activationBytesOfLanes: 256 * 1024 * 1024,
  /** Of one call of the onnx engine on the event loop's thread: about 5 ms, as long as a message may wait. Longer ones have a thread of their own. */
  multiplyAddsOfShortCall: 125_000_000,
  /** Pictures that an extractor reads and looks up together while the network runs on those before: one call to the coordinator … */
  picturesInGroup: 256,
  /** … no more bytes of files and pixels than this are held … */
  pictureBytesInFlight: 128 * 1024 * 1024,
  /** … and so many are decoded at the same time: enough to keep every core busy. */
  decodesAtOnce: 64,
  /** An extractor counts what it has done after so many pictures, and says so to a coordinator of another process this often: a thousand extractors make 200 calls a second. */
  picturesPerHeartbeat: 16,
  heartbeatMs: 5_000,
  /** A worker that is silent for this long loses its task. */
  leaseMs: 30_000,
  /** Failures of workers that a repetition may cure; a job that sees more has failed. */
  workerFailuresMax: 20,
  /** One look-up of features: a message of 128 KiB. */
  lookupImageIds: 4_096,
  /** Between two states that one watcher of a job gets: five a second are more than anyone reads. */
  watchMs: 200,
  /** How long the coordinator keeps a worker waiting for a task or a membership before it answers "ask again". */
  longPollMs: 20_000,
  /** How often a trainer says that it lives, and learns whether its generation still stands: a quarter of the two seconds within which the others go on once one of them is given up. */
  trainerHeartbeatMs: 500,
  /** Instead of exchangeDeadlineMs where features are streamed: others may still be making their lanes. */
  lanesDeadlineMs: 30 * 60_000,
  /** A trainer whose steps are short is given up after this much silence (domain/training/step-deadline.ts). */
  stepDeadlineMsMin: 10_000,
  /** A member that has not been heard for this long is not waited for when the next generation opens: six missed signs of life. */
  memberQuietMs: 3_000,
  /** Once a generation has to end, its members have this long to come for the next one; who does not is left out. */
  regroupMs: 5_000,
  /** One message of the gradient bus, header included; half of what NATS allows by default. */
  exchangeMessageBytes: 512 * 1024,
  /** A trainer that waits this long sends again what may have been lost on the bus … */
  exchangeResendMs: 2_000,
  /** … and after this gives up, naming who is missing. */
  exchangeDeadlineMs: 60_000,
  /** What a bus holds for a server that takes nothing; more is dropped and sent again later. The largest gradient that is shared (parametersForGrains) makes 64 MB, with its tree nodes and parts at most three times that. */
  busPendingBytes: 256 * 1024 * 1024,
  /** A bus is reachable within this or not at all … */
  busConnectMs: 5_000,
  /** … is tried again after one to two times this, for as long as it takes … */
  busReconnectMs: 250,
  /** … is asked so often whether it lives, and left when it missed two questions: long before a step's deadline … */
  busPingMs: 4_000,
  /** … and gets this long to take the last messages when it is closed. */
  busCloseMs: 2_000,
  /** Calls of store and dataset that fail in passing are repeated: so often in all … */
  retryAttempts: 5,
  /** … after a wait of up to this, doubled each time … */
  retryFirstDelayMs: 100,
  /** … and not after this: who asked to stop waits no longer than two seconds. */
  retryTotalMs: 1_600,
  /** A call to an S3-compatible store is given up after this … */
  storeDeadlineMs: 30_000,
  /** … and this much later for each byte of its body: slower than 1 MB/s a store is of no use. */
  storeBytesPerSecondMin: 1_000_000,
  /** Calls to a store over the network are repeated for longer than those to a disk: a server restarts within half a minute. So often in all … */
  storeRetryAttempts: 10,
  /** … and not after this. */
  storeRetryTotalMs: 60_000,
  /** Connections to a store at the same time, from one process. */
  storeConnections: 64,
  /** The same wrong body this often in a row is what the store holds, not what the network made of it. */
  storeWrongBodies: 3,
  /** One gRPC message, either way. The largest, the commit of 4,096 pictures, has 128 KiB of image ids, a reason for each that is rejected (at most 6 MiB) and shards: */
  grpcMessageBytes: 16 * 1024 * 1024,
  /** those of one message; 4,096 pictures have 128 KiB a view and more where shards are small, and all but the last of these go ahead. The coordinator looks up the 20,000 smallest in the store in seconds. */
  shardMessageBytes: 4 * 1024 * 1024,
  /** Why a picture is rejected, in UTF-16 units: what decoders say has one line. */
  rejectionReasonLength: 500,
  /** What the details of an error may take: with the message they stay below the 8 KiB of headers that clients in Java and Python accept. */
  grpcErrorDetailBytes: 5 * 1024,
  /** The message of an error in gRPC's own header, percent-encoded; of a longer one the details have more. */
  grpcErrorMessageBytes: 1024,
  /** A call without an answer has failed after this: longer than the coordinator needs for a write that the store refuses a few times. */
  grpcCallMs: 30_000,
  /** Reports that nobody needs to wait for: a worker goes on without them. */
  grpcReportMs: 5_000,
  /** One message of a result's file that is read through the coordinator: large enough that its cost is that of the bytes, and all that the coordinator holds for one reader. */
  resultChunkBytes: 1024 * 1024,
  /** One file of a result, read through the coordinator: 500 MB over 10 Mbit/s are seven minutes. */
  grpcReadMs: 30 * 60_000,
  /** A plan that reads all pictures. */
  grpcPlanMs: 30 * 60_000,
  /** A watch is opened anew after this, so that no stream lives for ever. */
  grpcWatchMs: 60 * 60_000,
  /** How long workers and watchers wait for a coordinator that is away: its pod is started on another machine meanwhile … */
  coordinatorAwayMs: 10 * 60_000,
  /** … asking at least this often. */
  coordinatorRetryMs: 2_000,
  /** Calls at a time on one connection; a worker needs a handful. */
  grpcStreams: 256,
  /** Connections to one coordinator: a thousand workers with room; more are closed at once. */
  grpcConnections: 4_096,
  /** A silent connection is asked for a sign of life this often … */
  grpcKeepaliveMs: 30_000,
  /** … and is dead without one after this. */
  grpcKeepaliveTimeoutMs: 10_000,
  /** Entries of one page of a list. */
  pageSize: 1_000,
  /** Rounds of extracting lost features again in one run; a store that damages more is broken. */
  repairRounds: 5,
  /** Requests to the API server of Kubernetes: a small part of the some thousands a second that one takes; a thousand jobs that start at once need minutes, not more of it. */
  kubernetesRequestsPerSecond: 100,
  /** A request to it has failed after this; what it asked for may have been done, and is seen by what the API server tells later. */
  kubernetesDeadlineMs: 15_000,
  /** Which engines a network needs is remembered for this long: to find out, its weights are read, and a controller asks with every change of every job. */
  enginesRememberedMs: 60_000,
  /** Networks and cuts of which it is remembered; the one asked for first is forgotten. */
  enginesRemembered: 1_024,
  /** A watch that broke is opened anew after this … */
  kubernetesWatchRetryMs: 1_000,
  /** … after twice as long each time, and at least this often: a namespace that is being prepared for graft need not wait longer. */
  kubernetesWatchRetryMsMax: 15_000,
  /** For how long a token of the command line is asked for: a watch renews it, and whoever steals it has it no longer. */
  clientTokenSeconds: 3_600,
  /** It is renewed when less than this part of its life is left. */
  clientTokenRenewAt: 0.2,
  /** Containers of one job whose logs are followed at the same time, each over its own connection to the API server; more wait until one of them has ended. */
  logsFollowed: 64,
  /** What the API server says of a token is believed for this long, and never beyond the token's own expiry: the token of a ServiceAccount that was deleted is good for no longer … */
  accessTokenMs: 10_000,
  /** … but for this where it is bound to a pod: a thousand workers make 17 reviews a second, and one that is gone for a minute can do no harm in it, since all of its calls may be repeated. */
  accessPodTokenMs: 60_000,
  /** What a user may do is believed for this long: a program that asks twice a second costs one review in twenty calls, and a right that is taken away is gone before anyone looks. */
  accessRightMs: 10_000,
  /** A no is believed for this long only: who was just given a right tries again at once. */
  accessRefusedMs: 2_000,
  /** Answers of each kind that are remembered: four times the connections, at some kilobytes each. */
  accessAnswers: 16_384,
  /** Questions about access that wait for the API server, at 40 a second: six seconds. More are refused, to be asked again: whoever sends tokens that nobody knows keeps nobody out for longer. */
  accessReviewsPending: 256,
  /** A question without an answer has failed after this, well before the call that waits for it. */
  accessReviewMs: 15_000,
  /** How often a trainer reports its step. */
  stepReportMs: 200,
  /** More parameters than this are trained in one grain: the gradient of several would not fit in memory. */
  parametersForGrains: 16_000_000,
  /** A dense layer's kernel of so many elements, 16 MiB, is more than a core's caches hold: its gradient is computed in blocks and need never stand in memory as a whole. */
  largeKernelElements: 4 * 1024 * 1024,
  /** Rows of one evaluation grain … */
  evaluationRows: 256,
  /** … fewer where their activations would need more than this. */
  evaluationActivationBytes: 1024 * 1024 * 1024,
  /** Features of one job that are held in memory, in MiB: what one typed array can hold. */
  residentFeatureMib: 16 * 1024,
  /** One object of a lane: a PUT that is worth repeating when it fails. */
  lanePartBytes: 256 * 1024 * 1024,
  /** A job file; the largest sensible one (a thousand class weights) has 50 kB. */
  jobFileBytes: 1024 * 1024,
  /** Uses of YAML aliases in a job file: enough to share a pod description, too few for a file that grows a millionfold. */
  jobFileAliases: 100,
  /** Problems of one job file that are listed; the rest are counted. */
  problemsListed: 100,
} as const;
