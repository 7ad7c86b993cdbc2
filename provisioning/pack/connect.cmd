@echo off
rem Open this seat's notebook in the browser, through SSH. Windows: double-click. check.cmd tries the way only.
rem Everything that must be known is in this folder; nothing of this computer's own SSH set-up has a say.
setlocal DisableDelayedExpansion
title @SESSION@
set "SEAT=@SEMINAR@ @ID@"
set "MACHINE=@HOST@"
set "LOGIN=@USER@@@HOST@"
set "SSH_PORTS=@SSH_PORTS@"
set "NOTEBOOK_PORT=@NOTEBOOK_PORT@"
set "LOCAL_PORT=@LOCAL_PORT@"
set "HOST_KEY=@HOST_KEY@"
set "PACK=%~dp0"
set "MODE=%~1"
if "%MODE%"=="await" goto await

for %%f in (id_ed25519 id_ed25519.ppk known_hosts ssh_config) do if not exist "%PACK%%%f" (
  echo %%f is missing beside this file. Unpack the whole zip first:
  echo right-click it, choose Extract All, and start this from the new folder.
  goto failed
)

rem A copy in a folder that is this user's alone: ssh refuses a key that others may read, and on a USB stick, in a shared
rem or a synchronised folder that can't always be mended. From here on no path has a space in an argument.
set "WORK=%LOCALAPPDATA%\seminar\@SESSION@"
if not exist "%WORK%" mkdir "%WORK%"
for %%f in (id_ed25519 id_ed25519.ppk known_hosts ssh_config) do copy /y "%PACK%%%f" "%WORK%\%%f" >nul || goto failed
cd /d "%WORK%" || goto failed
call icacls id_ed25519 /inheritance:r /grant:r "%USERNAME%:(F)" >nul 2>&1

set "SSH="
set "KIND="
for %%p in (ssh.exe) do if not "%%~$PATH:p"=="" set "SSH=%%~$PATH:p"
if not defined SSH if exist "%SystemRoot%\System32\OpenSSH\ssh.exe" set "SSH=%SystemRoot%\System32\OpenSSH\ssh.exe"
if defined SSH set "KIND=ssh"
if not defined SSH for %%p in (plink.exe) do if not "%%~$PATH:p"=="" set "SSH=%%~$PATH:p"
if not defined SSH if exist "%ProgramFiles%\PuTTY\plink.exe" set "SSH=%ProgramFiles%\PuTTY\plink.exe"
if not defined SSH if exist "%PACK%plink.exe" set "SSH=%PACK%plink.exe"
if defined SSH if not defined KIND set "KIND=plink"
if not defined SSH (
  echo There is neither ssh nor PuTTY's plink on this computer. Open Settings, search for Optional features,
  echo and install OpenSSH Client; or install PuTTY.
  set "TOLD=there is no ssh on this computer"
  if "%MODE%"=="check" goto result
  goto failed
)
if "%MODE%"=="check" goto check

rem ---- connect
set "OPENED="
set "LOCAL="
echo Connecting to %MACHINE% ...
:again
call :find_way
if "%FOUND%"=="wrong-key" goto stopped
if "%FOUND%"=="refused" goto stopped
if "%FOUND%"=="answers" call :tunnel
echo Not connected: %TOLD%
for /l %%s in (5,-1,1) do (
  echo Trying again in %%s s. To end, close this window.
  ping -n 2 127.0.0.1 >nul
)
goto again

:stopped
echo Stopped: %TOLD%
goto failed

rem ---- check
:check
echo Checking the way to %MACHINE%. This may take half a minute ...
call :find_way
:result
echo Please send this line to the organiser:
if "%FOUND%"=="answers" (
  echo %SEAT% ready: %KIND%, port %PORT% open, host key right, the notebook answers
  pause
  exit /b 0
)
echo %SEAT% NOT ready: %KIND% %TOLD%
:failed
pause
exit /b 1

rem find_way: the SSH port through which the notebook answers, in PORT; else in FOUND and TOLD what stands in the way.
:find_way
set "FOUND=unreachable"
set "TOLD=%MACHINE% can't be reached through port %SSH_PORTS: = or %. Is this computer online? Else this network may block it, or the machine is off."
for %%p in (%SSH_PORTS%) do call :probe %%p
goto :eof

:probe
if not "%FOUND%"=="unreachable" goto :eof
set "PORT=%1"
rem Jupyter does not answer who has hung up already, so the pipe stays open for a moment.
if "%KIND%"=="ssh" (
  (echo GET /api HTTP/1.0& echo Host: localhost& echo.& ping -n 4 127.0.0.1 ^>nul) | call "%SSH%" -F ssh_config -p %PORT% -o ConnectTimeout=8 -W 127.0.0.1:%NOTEBOOK_PORT% %LOGIN% >answer 2>log
) else (
  (echo GET /api HTTP/1.0& echo Host: localhost& echo.& ping -n 4 127.0.0.1 ^>nul) | call "%SSH%" -ssh -batch -noagent -P %PORT% -i id_ed25519.ppk -hostkey %HOST_KEY% -nc 127.0.0.1:%NOTEBOOK_PORT% %LOGIN% >answer 2>log
)
findstr /c:"version" answer >nul && set "FOUND=answers"&& goto :eof
findstr /c:"Host key verification failed" /c:"IDENTIFICATION HAS CHANGED" /c:"not in manually configured list" log >nul && goto wrong_key
findstr /c:"Permission denied" /c:"No supported authentication" /c:"refused our key" log >nul && goto refused
findstr /c:"open failed" /c:"forwarding failed" /c:"refused" log >nul && if not "%KIND%"=="plink" goto maybe_silent
findstr /c:"onnection refused by remote" /c:"irect-tcpip" /c:"dministratively prohibited" log >nul && goto silent
goto :eof
:maybe_silent
findstr /c:"open failed" /c:"forwarding failed" log >nul && goto silent
goto :eof
:wrong_key
set "FOUND=wrong-key"
set "TOLD=the machine at %MACHINE% port %PORT% did not show the host key of this pack. Someone may be in between: use another network, and tell the organiser."
goto :eof
:refused
set "FOUND=refused"
set "TOLD=the machine does not accept the key of this pack. Ask the organiser for a new pack."
goto :eof
:silent
set "FOUND=silent"
set "TOLD=the machine is reached through port %PORT%, and the notebook on it does not answer. Tell the organiser."
goto :eof
