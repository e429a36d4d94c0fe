%% SPDX-License-Identifier: Apache-2.0
%% @doc Certificates and keys for tests, made by the program openssl: nobody here wrote it.
-module(tls_files).

-export([authority/2, certificate/3, self_signed/2, encrypt/3, key_option/1]).

-type kind() :: rsa | ec | ed25519.

%% @doc A certificate authority: its certificate and key.
-spec authority(file:filename(), string()) -> {file:filename(), file:filename()}.
authority(Dir, Name) ->
    {Cert, Key} = names(Dir, Name),
    openssl(["req -x509 -days 2 -nodes ", key_option(ec), " -subj /CN=", Name,
        " -addext basicConstraints=critical,CA:TRUE -keyout ", Key, " -out ", Cert]),
    {Cert, Key}.

%% @doc A certificate for localhost, `CN' its name, by this authority.
-spec certificate(file:filename(), string(), {file:filename(), file:filename()}) ->
    {file:filename(), file:filename()}.
certificate(Dir, Name, {CaCert, CaKey}) ->
    {Cert, Key} = names(Dir, Name),
    Request = Cert ++ ".csr",
    openssl(["req -nodes ", key_option(ec), " -subj /CN=", Name, " -keyout ", Key, " -out ",
        Request]),
    Extensions = Cert ++ ".ext",
    IsCa = case string:prefix(Name, "sub") of nomatch -> "FALSE"; _ -> "TRUE" end,
    ok = file:write_file(Extensions, ["basicConstraints=CA:", IsCa,
        "\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n"]),
    openssl(["x509 -req -days 2 -in ", Request, " -CA ", CaCert, " -CAkey ", CaKey,
        " -CAcreateserial -extfile ", Extensions, " -out ", Cert]),
    {Cert, Key}.

-spec self_signed(file:filename(), kind()) -> {file:filename(), file:filename()}.
self_signed(Dir, Kind) ->
    {Cert, Key} = names(Dir, atom_to_list(Kind)),
    openssl(["req -x509 -days 2 -nodes ", key_option(Kind), " -subj /CN=", atom_to_list(Kind),
        " -keyout ", Key, " -out ", Cert]),
    {Cert, Key}.

-spec key_option(kind()) -> string().
key_option(rsa) -> "-newkey rsa:2048";
key_option(ec) -> "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
key_option(ed25519) -> "-newkey ed25519".

%% @doc The key once more, encrypted: `pkcs8' as openssl does it today, or as it did before.
-spec encrypt(file:filename(), string(), pkcs8 | traditional) -> file:filename().
encrypt(Key, Password, pkcs8) ->
    File = Key ++ ".pkcs8",
    openssl(["pkcs8 -topk8 -in ", Key, " -passout pass:", Password, " -out ", File]),
    File;
encrypt(Key, Password, traditional) ->
    File = Key ++ ".traditional",
    openssl(["pkey -aes256 -traditional -in ", Key, " -passout pass:", Password, " -out ", File]),
    File.

names(Dir, Name) ->
    {filename:join(Dir, Name ++ ".crt"), filename:join(Dir, Name ++ ".key")}.

openssl(Arguments) ->
    Command = lists:flatten(["openssl ", Arguments, " 2>&1 && echo fine"]),
    Output = os:cmd(Command),
    case string:split(string:trim(Output), "fine", trailing) of
        [_, []] -> ok;
        _ -> error({openssl, Command, Output})
    end.
