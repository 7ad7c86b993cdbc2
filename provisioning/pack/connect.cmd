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

pushd "%PACK%"
set "MISSING="
for %%f in (id_ed25519 id_ed25519.ppk known_hosts ssh_config) do if not exist %%f set "MISSING=%%f"
if defined MISSING goto unpack

rem A copy in a folder that is this user's alone: ssh refuses a key that others may read, and on a USB stick, in a
rem shared or a synchronised folder that can't always be mended. From here on no argument has a path with a space.
set "WORK=%LOCALAPPDATA%\seminar\@SESSION@"
if not exist "%WORK%" mkdir "%WORK%"
for %%f in (id_ed25519 id_ed25519.ppk known_hosts ssh_config) do if exist "%WORK%\%%f" del /q "%WORK%\%%f"
for %%f in (id_ed25519 id_ed25519.ppk known_hosts ssh_config) do copy /y %%f "%WORK%\%%f" >nul
cd /d "%WORK%"
for %%f in (id_ed25519 id_ed25519.ppk known_hosts ssh_config) do if not exist "%WORK%\%%f" set "MISSING=%%f"
if defined MISSING goto no_copy
call icacls id_ed25519 /inheritance:r /grant:r "%USERDOMAIN%\%USERNAME%:(F)" >nul 2>&1

set "SSH="
set "KIND=ssh"
call :find ssh
if not defined SSH if exist "%SystemRoot%\System32\OpenSSH\ssh.exe" set "SSH=%SystemRoot%\System32\OpenSSH\ssh.exe"
if not defined SSH set "KIND=plink"
call :find plink
if not defined SSH if exist "%ProgramFiles%\PuTTY\plink.exe" set "SSH=%ProgramFiles%\PuTTY\plink.exe"
if not defined SSH if exist "%PACK%plink.exe" set "SSH=%PACK%plink.exe"
if not defined SSH goto no_ssh
set "LOG=%MODE%-%RANDOM%.log"
del /q *.log 2>nul
if "%MODE%"=="check" goto check

rem ---- connect
if exist opened del opened
echo Connecting to %MACHINE% ...
:again
call :find_way
if "%FOUND%"=="wrong-key" goto stopped
if "%FOUND%"=="refused" goto stopped
if "%FOUND%"=="answers" call :tunnel
echo Not connected: %TOLD%
for /l %%s in (5,-1,1) do call :second %%s
goto again

:second
echo Trying again in %1 s. To end, close this window.
ping -n 2 127.0.0.1 >nul
goto :eof

:stopped
echo Stopped: %TOLD%
goto failed

:unpack
echo %MISSING% is missing beside this file. Unpack the whole zip first:
echo right-click it, choose Extract All, and start this from the new folder.
goto failed

:no_copy
echo %MISSING% can't be copied to %WORK%. Is the disk full?
goto failed

:no_ssh
echo There is neither ssh nor PuTTY's plink on this computer. Open Settings, search for Optional features,
echo and install OpenSSH Client; or install PuTTY.
set "FOUND=no ssh"
set "KIND=no ssh"
set "TOLD=is on this computer"
if "%MODE%"=="check" goto result
goto failed

rem ---- check
:check
echo Checking the way to %MACHINE%. This may take half a minute ...
call :find_way
:result
echo Please send this line to the organiser:
if "%FOUND%"=="answers" goto ready
echo %SEAT% NOT ready: %KIND% %TOLD%
:failed
pause
exit /b 1
:ready
echo %SEAT% ready: %KIND%, port %PORT% open, host key right, the notebook answers
pause
exit /b 0

rem find NAME: where that program is, in SSH, as Windows itself looks for it.
:find
for %%e in (%PATHEXT:;= %) do call :find_one %1%%e
goto :eof
:find_one
if defined SSH goto :eof
for %%p in (%1) do set "SSH=%%~$PATH:p"
goto :eof

rem find_way: the SSH port through which the notebook answers, in PORT; else in FOUND and TOLD what stands in the way.
:find_way
set "FOUND=unreachable"
set "TOLD=%MACHINE% can't be reached through port %SSH_PORTS: = or %. Is this computer online? Else this network may block it, or the machine is off."
for %%p in (%SSH_PORTS%) do call :probe %%p
goto :eof

:probe
if not "%FOUND%"=="unreachable" goto :eof
set "PORT=%1"
set "BY=-F ssh_config -p %PORT% -o ConnectTimeout=8 -W"
if "%KIND%"=="plink" set "BY=-ssh -batch -noagent -P %PORT% -i id_ed25519.ppk -hostkey %HOST_KEY% -nc"
rem Jupyter does not answer who has hung up already, so the pipe stays open for a moment.
(echo GET /api HTTP/1.0& echo Host: localhost& echo.& ping -n 4 127.0.0.1 >nul) | call "%SSH%" %BY% 127.0.0.1:%NOTEBOOK_PORT% %LOGIN% >"answer-%LOG%" 2>"%LOG%"
call :sees "version" answers "answer-%LOG%"
call :sees "Host key verification failed" wrong-key "%LOG%"
call :sees "not in manually configured list" wrong-key "%LOG%"
call :sees "Permission denied" refused "%LOG%"
call :sees "Server refused our key" refused "%LOG%"
call :sees "open failed" silent "%LOG%"
call :sees "refused to open main channel" silent "%LOG%"
if "%FOUND%"=="wrong-key" set "TOLD=the machine at %MACHINE% port %PORT% did not show the host key of this pack. Someone may be in between: use another network, and tell the organiser."
if "%FOUND%"=="refused" set "TOLD=the machine does not accept the key of this pack. Ask the organiser for a new pack."
if "%FOUND%"=="silent" set "TOLD=the machine is reached through port %PORT%, and the notebook on it does not answer. Tell the organiser."
goto :eof

rem sees TEXT WORD FILE: FOUND becomes the word where the file has the text.
:sees
find %1 %3 >nul 2>nul
if not errorlevel 1 set "FOUND=%2"
goto :eof

rem tunnel: hold the tunnel until it ends. Once it was open, its port stays: the page in the browser looks for that one.
:tunnel
if not exist opened call :choose_port
set "BY=-F ssh_config -p %PORT% -o ConnectTimeout=8"
if "%KIND%"=="plink" set "BY=-ssh -batch -noagent -P %PORT% -i id_ed25519.ppk -hostkey %HOST_KEY%"
start "" /b "%COMSPEC%" /d /c call "%PACK%connect.cmd" await %LOCAL_PORT%
call "%SSH%" %BY% -N -L 127.0.0.1:%LOCAL_PORT%:127.0.0.1:%NOTEBOOK_PORT% %LOGIN% <nul >nul 2>"%LOG%"
set "TOLD=the connection dropped."
goto :eof

rem await: beside the tunnel. The notebook answered a moment ago, so the tunnel is all that is waited for.
:await
set "LOCAL_PORT=%~2"
cd /d "%LOCALAPPDATA%\seminar\@SESSION@"
set "TRIES=0"
:await_again
call :look
if defined TAKEN goto open
set /a TRIES+=1
if %TRIES% geq 30 exit /b 1
ping -n 2 127.0.0.1 >nul
goto await_again
:open
echo Connected. Your notebook: http://localhost:%LOCAL_PORT%   Leave this window open; closing it ends the connection.
if exist opened exit /b 0
echo %LOCAL_PORT%>opened
start "" http://localhost:%LOCAL_PORT%
exit /b 0

:choose_port
call :look
if not defined TAKEN goto :eof
echo Port %LOCAL_PORT% of this computer is taken, by another Jupyter perhaps. Trying the next one.
set /a LOCAL_PORT+=1
goto choose_port

rem look: TAKEN is set where something listens at LOCAL_PORT. What netstat calls "listening" depends on the language of
rem Windows; that such a row has no other end does not.
:look
set "TAKEN="
for /f "tokens=2,3" %%a in ('netstat -a -n') do call :row %%a %%b
goto :eof
:row
if not "%2"=="0.0.0.0:0" if not "%2"=="[::]:0" goto :eof
for %%l in (127.0.0.1 0.0.0.0 [::1] [::]) do if "%1"=="%%l:%LOCAL_PORT%" set "TAKEN=yes"
goto :eof
