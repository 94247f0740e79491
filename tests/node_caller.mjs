// Calls a function with AWS's SDK for Node.js and prints one JSON line for each thing that it is told, at once.
//
//     node node_caller.mjs DIRECTORY ENDPOINT INPUT...
//
// DIRECTORY holds the SDK in its node_modules. Each INPUT is the input of one InvokeWithResponseStreamCommand, as JSON;
// they are sent one after the other by one client.

import { createRequire } from "node:module";

const [directory, endpoint, ...inputs] = process.argv.slice(2);
const { InvokeWithResponseStreamCommand, LambdaClient } = createRequire(`${directory}/`)("@aws-sdk/client-lambda");

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const client = new LambdaClient({
  endpoint,
  region: "us-east-1",
  credentials: { accessKeyId: "id", secretAccessKey: "secret" },
  maxAttempts: 1,
});

for (const input of inputs) {
  try {
    const answer = await client.send(new InvokeWithResponseStreamCommand(JSON.parse(input)));
    say({
      answer: {
        status: answer.StatusCode,
        version: answer.ExecutedVersion,
        type: answer.ResponseStreamContentType,
        id: answer.$metadata.requestId,
      },
    });
    for await (const event of answer.EventStream) {
      if (event.PayloadChunk) {
        say({ chunk: Buffer.from(event.PayloadChunk.Payload).toString("base64") });
      } else {
        say(event.InvokeComplete ? { complete: event.InvokeComplete } : { unknown: event });
      }
    }
  } catch (fault) {
    say({ fault: { name: fault.name, message: fault.message, status: fault.$metadata?.httpStatusCode } });
  }
}
client.destroy();
