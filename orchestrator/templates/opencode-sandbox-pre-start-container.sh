#!/usr/bin/env bash
# Runs on this host before each start, once it is approved: ocs policy approve
# What it exports can be named in env-passthrough of opencode-sandbox-config.yaml.
