# The web service with the package's model, on the CPU. How to build and run it: docs/serving.md.
FROM python:3.12-slim

# The wheels of the CPU need a third of the disk; docs/installing.md says where PyTorch lists the option.
ARG PIP_OPTIONS=""

RUN useradd --create-home --uid 10001 faceverif
WORKDIR /home/faceverif/source
COPY . .
# shellcheck disable=SC2086
RUN pip install --no-cache-dir ${PIP_OPTIONS} '.[serve]' --constraint constraints.txt \
    && rm -rf /home/faceverif/source/*

USER 10001
WORKDIR /home/faceverif
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
# As a list, so that SIGTERM reaches the service and open requests are answered.
ENTRYPOINT ["faceverif", "serve", "--host", "0.0.0.0", "--port", "8000"]
