@echo off
rem The self-test: tries the whole way once, changes nothing, and ends in one line to send back.
if not exist "%~dp0connect.cmd" (
  echo connect.cmd is missing beside this file. Unpack the whole zip first:
  echo right-click it, choose Extract All, and start this from the new folder.
  pause
  exit /b 1
)
call "%~dp0connect.cmd" check
