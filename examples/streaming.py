import time

from lambda_wire import HttpResponse


def handler(event, context):
    def body():
        for n in range(1, 11):
            yield f"{n}\n"
            time.sleep(1)

    return HttpResponse(status_code=200, headers={"content-type": "text/plain"}, cookies=["seen=1"], body=body())
